/* SPDX-License-Identifier: Apache-2.0 */
/* proxy-status - who takes the control plane's word, and whether all of it was taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "table.h"

struct proxy_options {
	const char *node, *run_dir, *output;
};

static const struct option_def defs[] = {
	CLI_OPTION_NODE(offsetof(struct proxy_options, node),
			"only the clients on this node (without a cluster: whose control plane)"),
	CLI_OPTION_RUN_DIR(offsetof(struct proxy_options, run_dir)),
	CLI_OPTION_OUTPUT(offsetof(struct proxy_options, output)),
	{0},
};

/* synced() - in istioctl's words. */
static const char *synced(const json_t *client)
{
	const json_t *acked = json_object_get(client, "acked");

	if (*json_text(client, "error", ""))
		return "ERROR";
	return json_integer_value(acked) > 0 ? "SYNCED" : "NOT SENT";
}

static int add_clients(const struct admin_node *control, const char *only, json_t *all)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	int r = admin_get_json(control, "control", "/status", &status);
	const json_t *c;
	size_t i;

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(status, "clients"), i, c) {
		const char *node = json_text(c, "node", "");

		if (only && !streq(only, node))
			continue;
		if (json_array_append_new(all, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I}",
							 "name", json_text(c, "id", ""), "node",
							 node, "type", json_text(c, "type", ""),
							 "istiod", control->name, "revision",
							 control->revision, "status", synced(c),
							 "error", json_text(c, "error", ""),
							 "acked", json_number(c, "acked"), "nacked",
							 json_number(c, "nacked"))) < 0)
			return -1;
	}
	return 0;
}

static int print_table(const json_t *all)
{
	static const char *const headers[] = {"NAME",   "TYPE",  "NODE", "ISTIOD",
					      "STATUS", "ERROR", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *c;
	size_t i;

	if (table_new(headers, &t) < 0)
		return cli_fail("out of memory");
	json_array_foreach (all, i, c) {
		const char *cells[] = {json_text(c, "name", ""),   json_text(c, "type", ""),
				       json_text(c, "node", ""),   json_text(c, "istiod", ""),
				       json_text(c, "status", ""), json_text(c, "error", "")};

		if (table_row(t, cells) < 0)
			return cli_fail("out of memory");
	}
	table_show(t);
	return 0;
}

/* controls() - whose word it is: the cluster's control plane, or those of this machine's nodes. */
static int controls(const struct proxy_options *o, struct admin_node *ret, bool *ret_is_remote)
{
	int n = (int)admin_find_nodes(o->node, o->run_dir, ret, ADMIN_NODES_MAX);

	*ret_is_remote = n > 0 && ret[0].pod[0];
	if (n == 0)
		return admin_none(), -1;
	return *ret_is_remote ? admin_remote_control(ret, ADMIN_NODES_MAX) : n;
}

int cli_proxy_status(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert proxy-status [--node NAME] [-o short|json|yaml]",
		.help = "Show every ztunnel and agent that a control plane serves: which replica "
			"serves it, and whether it took what it was sent. Exit code 1 when one "
			"refused it, or a replica does not answer.",
	};
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	_cleanup_(json_decrefp) json_t *all = json_array();
	struct proxy_options o = {0};
	bool is_remote = false;
	const json_t *c;
	size_t i;
	int n, r, failed = 0;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (!found || !all)
		return cli_fail("out of memory");
	if (cli_check_output("proxy-status", o.output) > 0)
		return 2;
	n = controls(&o, found, &is_remote);
	for (int k = 0; k < n; k++) {
		r = add_clients(&found[k], is_remote ? o.node : NULL, all);
		if (r < 0) { /* what the others serve is to be seen all the same */
			(void)admin_fail(&found[k], "control", r);
			failed++;
		}
	}
	if (n <= 0)
		return n < 0 ? 1 : cli_fail("no control plane runs in the cluster");
	if (failed == n)
		return 1;
	r = 0;
	if (!streq(o.output, "short"))
		json_print(all, o.output);
	else
		r = print_table(all);
	r = failed > 0 ? 1 : r;
	json_array_foreach (all, i, c)
		if (streq(json_text(c, "status", ""), "ERROR"))
			r = 1;
	return r;
}
