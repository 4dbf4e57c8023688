/* SPDX-License-Identifier: Apache-2.0 */
/* connections - what is open now, with rates, refreshed on demand. */
#include "connections.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "term.h"

struct connections_options {
	const char *node, *run_dir, *output, *sort, *by;
	bool is_why;
	struct connections_filter filter;
	struct term_rounds rounds;
};

#define FIELD(name) offsetof(struct connections_options, name)

static const struct option_def connections_defs[] = {
	CLI_OPTION_NODE(FIELD(node), CLI_EVERY_NODE),
	CLI_OPTION_RUN_DIR(FIELD(run_dir)),
	{.name = "namespace",
	 .short_name = 'n',
	 .type = OPTION_STRING,
	 .offset = FIELD(filter.namespace_),
	 .value_name = "NS",
	 .help = "only pods of this namespace"},
	{.name = "pod",
	 .type = OPTION_STRING,
	 .offset = FIELD(filter.pod),
	 .value_name = "POD",
	 .help = "only this pod: NAME or NAMESPACE/NAME"},
	{.name = "service",
	 .type = OPTION_STRING,
	 .offset = FIELD(filter.service),
	 .value_name = "SVC",
	 .help = "only connections to this service: NAME or host name"},
	{.name = "direction",
	 .type = OPTION_STRING,
	 .offset = FIELD(filter.direction),
	 .value_name = "DIR",
	 .help = "inbound or outbound only"},
	{.name = "by",
	 .type = OPTION_STRING,
	 .offset = FIELD(by),
	 .default_value = "connection",
	 .value_name = "WHAT",
	 .help = "a line per connection, pod or service"},
	{.name = "sort",
	 .type = OPTION_STRING,
	 .offset = FIELD(sort),
	 .default_value = "rate",
	 .value_name = "KEY",
	 .help = "rate, bytes, sent, received, age, pod or peer"},
	{.name = "why",
	 .type = OPTION_BOOL,
	 .offset = FIELD(is_why),
	 .help = "of each, in a sentence: by which way, and why it is let in"},
	TERM_OPTION_WATCH(FIELD(rounds)),
	TERM_OPTION_COUNT(FIELD(rounds)),
	TERM_OPTION_INTERVAL(FIELD(rounds)),
	CLI_OPTION_OUTPUT(FIELD(output)),
	{0},
};

struct asked {
	const struct connections_options *options;
	struct admin_node *nodes; /* ADMIN_NODES_MAX of them */
	size_t count;
	json_t *before; /* of the last round */
};

/* sample() - all nodes once; nodes that do not answer are told and left out. Return: records, new
 * reference; NULL. */
static json_t *sample(struct asked *a)
{
	_cleanup_(json_decrefp) json_t *records = json_array();
	json_t *now = json_object();
	size_t answers = 0;

	for (size_t i = 0; i < a->count; i++) {
		_cleanup_(json_decrefp) json_t *answer = NULL;
		int r = admin_get_json(&a->nodes[i], "ztunnel", "/connections", &answer);

		if (r < 0)
			(void)admin_fail(&a->nodes[i], "ztunnel", r);
		else if (connections_read(answer, &a->options->filter, a->before, now, records) < 0)
			(void)cli_fail("out of memory");
		else
			answers++;
		if (json_is_false(json_object_get(answer, "directListed")))
			(void)cli_fail("%s: connections inside the node are not listed: its agent "
				       "does not tell ztunnel",
				       a->nodes[i].name);
	}
	json_decref(a->before);
	a->before = now;
	return answers > 0 ? TAKE_PTR(records) : NULL;
}

static int show(struct asked *a)
{
	const struct connections_options *o = a->options;
	_cleanup_(json_decrefp) json_t *records = sample(a);
	json_t *groups;

	if (!records)
		return 1;
	if (!streq(o->by, "connection")) {
		groups = connections_group(records, o->by);
		json_decref(records);
		records = groups;
	}
	if (!records || connections_sort(records, o->sort) < 0)
		return cli_fail("out of memory");
	if (o->is_why && connections_why(records, a->nodes, a->count) < 0)
		return cli_fail("out of memory");
	if (!streq(o->output, "short"))
		json_print(records, o->output);
	else if ((o->is_why ? connections_print_why(records) : connections_print(records, o->by)) <
		 0)
		return cli_fail("out of memory");
	return 0;
}

static bool is_one_of(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (streq(s, *list))
			return true;
	return false;
}

static int check_options(struct connections_options *o)
{
	static const char *const groups[] = {"connection", "pod", "service", NULL};
	static const char *const directions[] = {"inbound", "outbound", NULL};

	_cleanup_(json_decrefp) json_t *none = json_array();

	if (cli_check_output("connections", &o->output) > 0)
		return 1;
	if (connections_sort(none, o->sort) == -EINVAL)
		return cli_fail("--sort %s: not one of rate, bytes, sent, received, age, pod, peer",
				o->sort);
	if (!is_one_of(o->by, groups))
		return cli_fail("--by %s: not one of connection, pod, service", o->by);
	if (o->is_why && !streq(o->by, "connection"))
		return cli_fail("--why: of connections, not of pods or services");
	if (o->filter.direction && !is_one_of(o->filter.direction, directions))
		return cli_fail("--direction %s: neither inbound nor outbound",
				o->filter.direction);
	return 0;
}

int cli_connections(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = connections_defs,
		.usage = "culvert connections [-w] [--by pod|service] [--sort KEY] [--pod POD] ...",
		.help = "Show the connections of the mesh that are open now: who to whom, for "
			"which "
			"service, how much and how fast, seen from the pod named first. VIA: "
			"HBONE, "
			"TCP (plaintext through ztunnel) or DIRECT (inside the node; its bytes "
			"come "
			"every 5 seconds). What is no business of the mesh (passthrough) is not "
			"among them. With --why a sentence each: who comes to whom, by which way, "
			"as whom, and what the policies of now say of it, asked of the ztunnel "
			"that decides.",
	};
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	struct connections_options o = {0};
	struct asked a = {.options = &o, .nodes = found};
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (check_options(&o) > 0)
		return 2;
	if (!found)
		return cli_fail("out of memory");
	a.count = admin_find_nodes(o.node, o.run_dir, found, ADMIN_NODES_MAX);
	if (a.count == 0)
		return admin_none();
	/* Rates want two looks. */
	json_decref(sample(&a));
	(void)sleep((unsigned int)o.rounds.interval);
	r = 0;
	while (r == 0 && term_next(&o.rounds))
		r = show(&a);
	json_decref(a.before);
	return r;
}
