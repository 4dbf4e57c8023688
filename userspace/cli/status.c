/* SPDX-License-Identifier: Apache-2.0 */
/* status - one look at a node: its three processes, its pods, and everything that is wrong. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "status_cluster.h"
#include "table.h"
#include "term.h"

struct status_options {
	const char *node;
	const char *run_dir;
	const char *output;
};

static const struct option_def status_defs[] = {
	CLI_OPTION_NODE(offsetof(struct status_options, node), CLI_EVERY_NODE),
	CLI_OPTION_RUN_DIR(offsetof(struct status_options, run_dir)),
	CLI_OPTION_OUTPUT(offsetof(struct status_options, output)),
	{0},
};

/* ask() - what a daemon says about itself, or an object with the key "unreachable" that says why
 * not. */
static json_t *ask(const struct admin_node *n, const char *part)
{
	json_t *v = NULL;
	int r = admin_get_json(n, part, "/status", &v);

	if (r == 0)
		return v;
	return json_pack("{s:s}", "unreachable",
			 r == -ECONNREFUSED ? "not running"
			 : r == -EACCES     ? "permission denied: run as root"
					    : "gave no usable answer");
}

static json_t *ask_ztunnel(const struct admin_node *n)
{
	_cleanup_(buf_resetp) struct buf body = {0};
	int r = admin_request(n, "ztunnel", "GET", "/healthz/ready", &body);
	size_t len = buf_len(&body);

	if (r < 0)
		return json_pack("{s:s}", "unreachable",
				 r == -EACCES ? "permission denied: run as root" : "not running");
	while (len > 0 && buf_head(&body)[len - 1] == '\n')
		len--;
	return json_pack("{s:b,s:s%}", "ready", r == 200, "detail",
			 len > 0 ? (const char *)buf_head(&body) : "", len);
}

/* ask_node() - the node's own word for its name comes before that of its folder. */
static json_t *ask_node(const struct admin_node *n)
{
	json_t *control = ask(n, "control");
	json_t *agent = ask(n, "agent");
	const char *name = json_text(agent, "node", json_text(control, "node", n->name));

	return json_pack("{s:s,s:o,s:o,s:o}", "node", name, "control", control, "agent", agent,
			 "ztunnel", ask_ztunnel(n));
}

/* numbers_text() - "3 Pod, 2 Service" of an object of integers; zeroes are left out. @into ends
 * with a zero. */
static const char *numbers_text(const json_t *o, struct buf *into)
{
	const char *sep = "";
	const char *key;
	const json_t *v;

	json_object_foreach ((json_t *)o, key, v) {
		if (json_integer_value(v) == 0)
			continue;
		(void)buf_printf(into, "%s%lld %s", sep, (long long)json_integer_value(v), key);
		sep = ", ";
	}
	return buf_append(into, "", 1) == 0 ? (const char *)buf_head(into) : "";
}

static void print_control(const json_t *c)
{
	const char *why = json_text(c, "unreachable", NULL);
	const char *until = json_text(json_object_get(c, "ca"), "root_not_after", "?");
	_cleanup_(buf_resetp) struct buf objects = {0};
	_cleanup_(freep) char *text = NULL;

	if (!why)
		text = str_format("running%s; objects: %s; clients: %zu; CA root until %s",
				  json_is_false(json_object_get(c, "synced"))
					  ? ", tells nodes nothing yet"
					  : "",
				  numbers_text(json_object_get(c, "objects"), &objects),
				  json_array_size(json_object_get(c, "clients")), until);
	term_wrap("  control  ", "           ", why ? why : text ? text : "running");
}

static void print_agent(const json_t *a)
{
	const char *why = json_text(a, "unreachable", NULL);
	const char *failure = json_text(a, "control_error", "");
	_cleanup_(freep) char *text = str_format("control plane not reached: %s", failure);

	if (why) {
		printf("  agent    %s\n", why);
		return;
	}
	printf("  agent    running; ztunnel %s; pods: %zu\n", json_text(a, "ztunnel", "unknown"),
	       json_array_size(json_object_get(a, "pods")));
	if (*failure)
		term_wrap("           ", "           ", text ? text : failure);
}

static void print_ztunnel(const json_t *z)
{
	const char *why = json_text(z, "unreachable", NULL);

	if (why)
		printf("  ztunnel  %s\n", why);
	else if (json_is_true(json_object_get(z, "ready")))
		puts("  ztunnel  ready");
	else
		printf("  ztunnel  not ready: %s\n", json_text(z, "detail", ""));
}

static int print_pods(const json_t *pods)
{
	static const char *const headers[] = {"  NAMESPACE", "POD",   "STATE",
					      "ADDRESSES",   "ERROR", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *pod;
	size_t i;

	if (json_array_size(pods) == 0)
		return 0;
	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (pods, i, pod) {
		_cleanup_(freep) char *addresses =
			json_join(json_object_get(pod, "addresses"), ",");
		_cleanup_(freep) char *ns = str_format("  %s", json_text(pod, "namespace", ""));
		const char *cells[] = {ns, json_text(pod, "name", ""), json_text(pod, "state", ""),
				       addresses, json_text(pod, "error", "")};

		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	putchar('\n');
	table_show(t);
	return 0;
}

/* print_exclusions() - what annotations take out of the capture, or into it, one line per pod that
 * has any. */
static void print_exclusions(const json_t *pods)
{
	bool is_first = true;
	const json_t *pod;
	size_t i;

	json_array_foreach (pods, i, pod) {
		_cleanup_(freep) char *text = json_join(json_object_get(pod, "exclusions"), "; ");

		if (!text || !*text)
			continue;
		if (is_first)
			puts("\n  Left alone, captured alone or rerouted, as annotations ask");
		is_first = false;
		printf("    %s/%s: %s\n", json_text(pod, "namespace", ""),
		       json_text(pod, "name", ""), text);
	}
}

/* print_error() - "file:line: field: what was expected"; without a file, the object is named. */
static void print_error(const json_t *e)
{
	const char *file = json_text(e, "file", "");
	const char *field = json_text(e, "field", "");
	_cleanup_(freep) char *where = NULL;
	_cleanup_(freep) char *text = NULL;

	if (json_is_string(e)) {
		printf("    %s\n", json_string_value(e));
		return;
	}
	if (*file)
		where = str_format("%s:%lld: ", file, (long long)json_number(e, "line"));
	else if (json_text(e, "kind", NULL))
		where = str_format("%s %s/%s: ", json_text(e, "kind", ""),
				   json_text(e, "namespace", ""), json_text(e, "name", ""));
	text = str_format("%s%s%s%s", where ? where : "", field, *field ? ": " : "",
			  json_text(e, "message", ""));
	term_wrap("    ", "      ", text ? text : "");
}

static void print_title(const char *title, const char *version)
{
	printf("\n  %s%s%s\n", title, *version ? ", as of Culvert " : "", version);
}

/* print_errors() - those of one severity. Return: how many. */
static size_t print_errors(const json_t *errors, const char *severity, const char *title)
{
	const json_t *e;
	size_t n = 0;
	size_t i;

	json_array_foreach (errors, i, e) {
		if (!streq(json_text(e, "severity", "error"), severity))
			continue;
		/* what is done with a field may be another version's to change */
		if (n++ == 0)
			print_title(title,
				    streq(severity, "warning") ? json_text(e, "version", "") : "");
		print_error(e);
	}
	return n;
}

/* print_features() - only what the kernel lacks is worth a line. */
static void print_features(const json_t *features)
{
	bool is_first = true;
	const json_t *f;
	size_t i;

	json_array_foreach (features, i, f) {
		if (json_is_true(json_object_get(f, "present")))
			continue;
		if (is_first)
			puts("\n  This kernel lacks");
		is_first = false;
		printf("    %s (since %s): %s\n", json_text(f, "name", ""),
		       json_text(f, "since", "?"), json_text(f, "without", ""));
	}
}

static void print_counters(const json_t *counters)
{
	_cleanup_(buf_resetp) struct buf text = {0};

	if (*numbers_text(counters, &text))
		term_wrap("\n  Events in the kernel: ", "    ", (const char *)buf_head(&text));
}

/* print_node() - Return: true when all is well. */
static bool print_node(const json_t *node)
{
	const json_t *control = json_object_get(node, "control");
	const json_t *agent = json_object_get(node, "agent");
	const json_t *ztunnel = json_object_get(node, "ztunnel");
	size_t errors;

	printf("node %s\n", json_text(node, "node", ""));
	print_control(control);
	print_agent(agent);
	print_ztunnel(ztunnel);
	(void)print_pods(json_object_get(agent, "pods"));
	print_exclusions(json_object_get(agent, "pods"));
	errors = print_errors(json_object_get(control, "errors"), "error",
			      "Mistakes in the manifests");
	errors += print_errors(json_object_get(agent, "errors"), "error", "Errors of the agent");
	(void)print_errors(json_object_get(control, "errors"), "warning", "Worth a look");
	(void)print_errors(json_object_get(agent, "errors"), "warning", "Worth a look at pods");
	print_features(json_object_get(agent, "features"));
	print_counters(json_object_get(agent, "counters"));
	return errors == 0 && !json_object_get(control, "unreachable") &&
	       !json_object_get(agent, "unreachable") &&
	       json_is_true(json_object_get(ztunnel, "ready"));
}

static int print_nodes(const json_t *nodes, const char *output)
{
	bool is_well = true;
	const json_t *node;
	size_t i;

	if (!streq(output, "short")) {
		json_print(nodes, output);
		return 0;
	}
	json_array_foreach (nodes, i, node) {
		if (i > 0)
			putchar('\n');
		is_well = print_node(node) && is_well;
	}
	return is_well ? 0 : 1;
}

int cli_status(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = status_defs,
		.usage = "culvert status [--node NAME] [-o short|json|yaml]",
		.help = "Show each node of this machine, or of the cluster: are control, agent and "
			"ztunnel running; "
			"which pods "
			"are captured; which manifests have mistakes, with file and line; what "
			"this kernel "
			"lacks; what the BPF programs dropped. Exit code 1 when something is "
			"wrong.",
	};
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	_cleanup_(json_decrefp) json_t *nodes = json_array();
	struct status_options o = {0};
	size_t n;
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (!found || !nodes)
		return cli_fail("out of memory");
	if (cli_check_output("status", &o.output) > 0)
		return 2;
	if (admin_is_remote(o.node, o.run_dir))
		return status_cluster(o.node, o.output);
	n = admin_find_local(o.node, o.run_dir, found, ADMIN_NODES_MAX);
	if (n == 0)
		return admin_none();
	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(nodes, ask_node(&found[i])) < 0)
			return cli_fail("out of memory");
	return print_nodes(nodes, o.output);
}
