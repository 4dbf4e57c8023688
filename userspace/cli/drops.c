/* SPDX-License-Identifier: Apache-2.0 */
/* drops - what the kernel and ztunnel refused, by reason, with rates. */
#include "drops.h"

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

struct drops_options {
	const char *node, *run_dir, *output;
	bool is_all;
	struct term_rounds rounds;
};

#define FIELD(name) offsetof(struct drops_options, name)

static const struct option_def drops_defs[] = {
	CLI_OPTION_NODE(FIELD(node), CLI_EVERY_NODE),
	CLI_OPTION_RUN_DIR(FIELD(run_dir)),
	{.name = "all",
	 .short_name = 'a',
	 .type = OPTION_BOOL,
	 .offset = FIELD(is_all),
	 .help = "also what was not refused: tunnelled, passed through, ..."},
	TERM_OPTION_WATCH(FIELD(rounds)),
	TERM_OPTION_COUNT(FIELD(rounds)),
	TERM_OPTION_INTERVAL(FIELD(rounds)),
	CLI_OPTION_OUTPUT(FIELD(output)),
	{0},
};

/* ask() - one node. Return: true when somebody answered. */
static bool ask(const struct admin_node *n, bool is_all, json_t *records)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	_cleanup_(buf_resetp) struct buf metrics = {0};
	int agent = admin_get_json(n, "agent", "/status", &status);
	int ztunnel = admin_request(n, "ztunnel", "GET", "/metrics", &metrics);

	if (agent == 0)
		drops_add_kernel(records, json_text(status, "node", n->name),
				 json_object_get(status, "counters"), is_all);
	else
		(void)admin_fail(n, "agent", agent);
	if (ztunnel == 200 && buf_append(&metrics, "", 1) == 0)
		drops_add_ztunnel(records, json_text(status, "node", n->name),
				  (const char *)buf_head(&metrics));
	else
		(void)admin_fail(n, "ztunnel", ztunnel);
	return agent == 0 || ztunnel == 200;
}

/* sample() - every node. Return: new reference; NULL when nobody answered. */
static json_t *sample(const struct admin_node *nodes, size_t count, bool is_all)
{
	_cleanup_(json_decrefp) json_t *records = json_array();
	bool is_answered = false;

	for (size_t i = 0; i < count; i++)
		is_answered = ask(&nodes[i], is_all, records) || is_answered;
	return is_answered ? TAKE_PTR(records) : NULL;
}

static int show(const json_t *records, const char *output)
{
	if (!streq(output, "short"))
		json_print(records, output);
	else if (json_array_size(records) == 0)
		puts("nothing was refused");
	else if (drops_print(records) < 0)
		return cli_fail("out of memory");
	return 0;
}

static int run(const struct admin_node *nodes, size_t count, struct drops_options *o)
{
	json_t *before = sample(nodes, count, o->is_all);
	int r = before ? 0 : 1;

	if (before)
		(void)sleep((unsigned int)o->rounds.interval);
	while (r == 0 && term_next(&o->rounds)) {
		json_t *now = sample(nodes, count, o->is_all);

		if (!now) {
			r = 1;
			break;
		}
		drops_set_rates(now, before, (double)o->rounds.interval);
		json_decref(before);
		before = now;
		r = show(now, o->output);
	}
	json_decref(before);
	return r;
}

int cli_drops(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = drops_defs,
		.usage = "culvert drops [-w] [--all] [--node NAME] [-o short|json|yaml]",
		.help = "Show what was refused and why: by the BPF programs (where: kernel) and by "
			"ztunnel, counted since each of them started. The lines of single drops "
			"are "
			"in the logs of the agent and of ztunnel.",
	};
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	struct drops_options o = {0};
	size_t n;
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("drops", o.output) > 0)
		return 2;
	if (!found)
		return cli_fail("out of memory");
	n = admin_find_nodes(o.node, o.run_dir, found, ADMIN_NODES_MAX);
	if (n == 0)
		return admin_none();
	return run(found, n, &o);
}
