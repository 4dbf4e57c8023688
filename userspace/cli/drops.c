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

/** struct sample - what all nodes said at one moment. */
struct sample {
	json_t *records;
	json_t *silent; /* who did not answer: "agent of node n1" */
	bool is_answered;
};

static void sample_reset(struct sample *s)
{
	json_decref(s->records);
	json_decref(s->silent);
	*s = (struct sample){0};
}

static void note_silent(struct sample *s, const struct admin_node *n, const char *part, int error)
{
	(void)admin_fail(n, part, error);
	(void)json_array_append_new(s->silent, json_sprintf("%s of node %s", part, n->name));
}

/* ask() - one node. */
static void ask(const struct admin_node *n, bool is_all, struct sample *s)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	_cleanup_(buf_resetp) struct buf metrics = {0};
	int agent = admin_get_json(n, "agent", "/status", &status);
	int ztunnel = admin_request(n, "ztunnel", "GET", "/metrics", &metrics);

	if (agent == 0)
		drops_add_kernel(s->records, json_text(status, "node", n->name),
				 json_object_get(status, "counters"), is_all);
	else
		note_silent(s, n, "agent", agent);
	if (ztunnel == 200 && buf_append(&metrics, "", 1) == 0)
		drops_add_ztunnel(s->records, json_text(status, "node", n->name),
				  (const char *)buf_head(&metrics));
	else
		note_silent(s, n, "ztunnel", ztunnel);
	s->is_answered = s->is_answered || agent == 0 || ztunnel == 200;
}

/* sample_take() - of every node. Return: 0; 1 when nobody answered, said on stderr. */
static int sample_take(const struct admin_node *nodes, size_t count, bool is_all,
		       struct sample *ret)
{
	struct sample s = {.records = json_array(), .silent = json_array()};

	for (size_t i = 0; i < count; i++)
		ask(&nodes[i], is_all, &s);
	if (!s.is_answered) {
		sample_reset(&s);
		return 1;
	}
	*ret = s;
	return 0;
}

/* show() - Return: 0; 1 also when somebody did not answer, who may have refused something. */
static int show(const struct sample *s, const char *output)
{
	_cleanup_(freep) char *silent = json_join(s->silent, ", ");
	bool is_whole = json_array_size(s->silent) == 0;

	if (!streq(output, "short"))
		json_print(s->records, output);
	else if (json_array_size(s->records) > 0 && drops_print(s->records) < 0)
		return cli_fail("out of memory");
	else if (json_array_size(s->records) == 0 && is_whole)
		puts("nothing was refused");
	else if (json_array_size(s->records) == 0)
		printf("nothing was refused by those that answered; not asked: %s\n",
		       silent ? silent : "");
	return is_whole ? 0 : 1;
}

static int run(const struct admin_node *nodes, size_t count, struct drops_options *o)
{
	struct sample before = {0};
	int r = sample_take(nodes, count, o->is_all, &before), shown = 0;

	if (r == 0)
		(void)sleep((unsigned int)o->rounds.interval);
	while (r == 0 && term_next(&o->rounds)) {
		struct sample now = {0};

		r = sample_take(nodes, count, o->is_all, &now);
		if (r != 0)
			break;
		drops_set_rates(now.records, before.records, (double)o->rounds.interval);
		sample_reset(&before);
		before = now;
		shown = show(&now, o->output) > 0 ? 1 : shown;
	}
	sample_reset(&before);
	return r != 0 ? r : shown;
}

int cli_drops(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = drops_defs,
		.usage = "culvert drops [-w] [--all] [--node NAME] [-o short|json|yaml]",
		.help = "Show what was refused and why: by the BPF programs (where: kernel) and by "
			"ztunnel, counted since each of them started. The lines of single drops "
			"are in the logs of the agent and of ztunnel. Exit code 1 when an agent or "
			"a ztunnel does not answer.",
	};
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	struct drops_options o = {0};
	size_t n;
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("drops", &o.output) > 0)
		return 2;
	if (!found)
		return cli_fail("out of memory");
	n = admin_find_nodes(o.node, o.run_dir, found, ADMIN_NODES_MAX);
	if (n == 0)
		return admin_none();
	return run(found, n, &o);
}
