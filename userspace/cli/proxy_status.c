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
#include "kube_target.h"
#include "match.h"
#include "table.h"

struct proxy_options {
	const char *node, *run_dir, *namespace_, *output;
	const char *pod; /* the argument; NULL: none */
};

static const struct option_def defs[] = {
	CLI_OPTION_NODE(offsetof(struct proxy_options, node),
			"only the clients on this node (without a cluster: whose control plane)"),
	CLI_OPTION_RUN_DIR(offsetof(struct proxy_options, run_dir)),
	KUBE_OPTION_NAMESPACE(offsetof(struct proxy_options, namespace_)),
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
		if (json_array_append_new(
			    all,
			    json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "name",
				      json_text(c, "id", ""), "node", node, "type",
				      json_text(c, "type", ""), "version",
				      json_text(c, "version", ""), "istiod", control->name,
				      "revision", control->revision, "status", synced(c), "error",
				      json_text(c, "error", ""), "acked", json_number(c, "acked"),
				      "nacked", json_number(c, "nacked"))) < 0)
			return -1;
	}
	return 0;
}

static bool is_served(const json_t *all, const char *node)
{
	const json_t *c;
	size_t i;

	json_array_foreach (all, i, c)
		if (streq(json_text(c, "node", ""), node) &&
		    streq(json_text(c, "type", ""), "ztunnel"))
			return true;
	return false;
}

/* add_unserved() - ztunnels that run, and that no control plane has a word of: who is not there is
 * not seen in a list of who is. */
static int add_unserved(const char *only, json_t *all)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	int n = nodes ? admin_remote_nodes(only, nodes, ADMIN_NODES_MAX) : -1;

	for (int i = 0; i < n; i++) {
		if (nodes[i].is_leaving || is_served(all, nodes[i].name))
			continue;
		if (json_array_append_new(
			    all,
			    json_pack("{s:o,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i}", "name",
				      json_sprintf("%s." KUBE_MESH_NAMESPACE, nodes[i].pod), "node",
				      nodes[i].name, "type", "ztunnel", "version", "", "istiod", "",
				      "revision", nodes[i].revision, "status", "NOT CONNECTED",
				      "error", "nobody serves it", "acked", 0, "nacked", 0)) < 0)
			return -1;
	}
	return n < 0 ? -1 : 0;
}

/* name_of() - of TYPE~ADDRESS~NAME.NAMESPACE~DOMAIN what istioctl shows, the third part; any other
 * id as it is. */
static const char *name_of(const json_t *client, char into[CLI_PATH_MAX])
{
	const char *id = json_text(client, "name", "");
	const char *at = strchr(id, '~'), *end;

	at = at ? strchr(at + 1, '~') : NULL;
	end = at ? strchr(at + 1, '~') : NULL;
	if (!end)
		return id;
	(void)snprintf(into, CLI_PATH_MAX, "%.*s", (int)(end - at - 1), at + 1);
	return into;
}

static int print_table(const json_t *all)
{
	static const char *const headers[] = {"NAME",    "TYPE",   "NODE",  "ISTIOD",
					      "VERSION", "STATUS", "ERROR", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *c;
	size_t i;

	if (table_new(headers, &t) < 0)
		return cli_fail("out of memory");
	json_array_foreach (all, i, c) {
		const char *version = json_text(c, "version", "");
		char name[CLI_PATH_MAX];
		const char *cells[] = {name_of(c, name),
				       json_text(c, "type", ""),
				       json_text(c, "node", ""),
				       json_text(c, "istiod", ""),
				       *version ? version : "unknown",
				       json_text(c, "status", ""),
				       json_text(c, "error", "")};

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

/* node_of_pod_here() - the first of @nodes, of this machine, whose agent has the pod. Return: 0; 1,
 * told. */
static int node_of_pod_here(const struct proxy_options *o, const struct admin_node *nodes, int n,
			    char ret[CLI_PATH_MAX])
{
	for (int k = 0; k < n; k++) {
		_cleanup_(json_decrefp) json_t *status = NULL;
		const json_t *p;
		size_t i;

		if (admin_get_json(&nodes[k], "agent", "/status", &status) < 0)
			continue;
		json_array_foreach (json_object_get(status, "pods"), i, p) {
			const char *ns = json_text(p, "namespace", "");

			if ((o->namespace_ && !streq(o->namespace_, ns)) ||
			    !match_pod(o->pod, ns, json_text(p, "name", "")))
				continue;
			(void)str_copy(ret, CLI_PATH_MAX, json_text(status, "node", ""));
			return 0;
		}
	}
	return cli_fail("proxy-status: no agent of this machine has a pod \"%s\"", o->pod);
}

/* node_of_pod() - likewise of a cluster's pod, be it in the mesh or of the mesh. */
static int node_of_pod(const struct proxy_options *o, char ret[CLI_PATH_MAX])
{
	_cleanup_(json_decrefp) json_t *pod = NULL;
	struct kube *k = admin_remote_kube();
	struct kube_target_ask ask = {"proxy-status", o->pod, o->namespace_, NULL};
	struct kube_target t;

	if (!k)
		return 1;
	ask.fallback = kube_namespace(k);
	if (kube_target_pod(k, &ask, &t, &pod) > 0)
		return 1;
	return kube_target_node(pod, &t, "proxy-status", ret);
}

static bool is_named(const json_t *client, const char *name)
{
	char short_name[CLI_PATH_MAX];

	return streq(name, json_text(client, "name", "")) ||
	       streq(name, name_of(client, short_name));
}

/* keep() - of @all only the client called @name, or with NULL those on @node. */
static void keep(json_t *all, const char *name, const char *node)
{
	for (size_t i = json_array_size(all); i > 0; i--) {
		const json_t *c = json_array_get(all, i - 1);
		bool is_meant = name ? is_named(c, name) : streq(json_text(c, "node", ""), node);

		if (!is_meant)
			(void)json_array_remove(all, i - 1);
	}
}

/* keep_of_pod() - leave what the argument means: a client by its own name, or those on the node of
 * a pod. Return: 0; 1, told. */
static int keep_of_pod(const struct proxy_options *o, const struct admin_node *nodes, int n,
		       bool is_remote, json_t *all)
{
	char node[CLI_PATH_MAX];
	const json_t *c;
	size_t i;

	json_array_foreach (all, i, c)
		if (is_named(c, o->pod)) {
			keep(all, o->pod, "");
			return 0;
		}
	if (is_remote ? node_of_pod(o, node) : node_of_pod_here(o, nodes, n, node))
		return 1;
	keep(all, NULL, node);
	if (json_array_size(all) == 0)
		return cli_fail("proxy-status: no control plane serves node %s, where \"%s\" is",
				node, o->pod);
	return 0;
}

int cli_proxy_status(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert proxy-status [--node NAME | POD] [-o short|json|yaml]",
		.help = "Show every ztunnel and agent that a control plane serves: which replica "
			"serves it, which build it is, and whether it took what it was sent; with "
			"POD only those on the pod's node, or the one of that NAME. Exit code 1 "
			"when one refused it, a replica does not answer, or, in a cluster, none "
			"serves a ztunnel that runs.",
		.max_rest = 1,
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
	if (cli_check_output("proxy-status", &o.output) > 0)
		return 2;
	o.pod = r < argc ? argv[r] : NULL;
	if (o.pod && o.node) {
		(void)cli_fail("proxy-status: a pod and --node are not to be given together");
		return 2;
	}
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
	if (is_remote && failed == 0 && add_unserved(o.node, all) < 0)
		return cli_fail("out of memory");
	if (failed == n || (o.pod && keep_of_pod(&o, found, n, is_remote, all) > 0))
		return 1;
	r = 0;
	if (!streq(o.output, "short"))
		json_print(all, o.output);
	else
		r = print_table(all);
	r = failed > 0 ? 1 : r;
	json_array_foreach (all, i, c)
		if (streq(json_text(c, "status", ""), "ERROR") ||
		    streq(json_text(c, "status", ""), "NOT CONNECTED"))
			r = 1;
	return r;
}
