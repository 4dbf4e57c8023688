/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "kube_kinds.h"
#include "kube_target.h"

#define DUMP_MAX    (256UL * 1024 * 1024)
#define NODES_TRIED 8

/* istioctl has a word for each table, and -n for the pod. */
#define ISTIOCTL_NAMESPACE(word)                                                                   \
	{                                                                                          \
		.name = (word), .type = OPTION_STRING,                                             \
		.offset = offsetof(struct zc_options, namespace_), .value_name = "NS",             \
		.help = "the same, beside ZTUNNEL, too"                                            \
	}

static const struct option_def zc_defs[] = {
	CLI_OPTION_NODE(offsetof(struct zc_options, node),
			"whose ztunnel (needed for what is not the same on every node)"),
	CLI_OPTION_RUN_DIR(offsetof(struct zc_options, run_dir)),
	{.name = "file",
	 .short_name = 'f',
	 .type = OPTION_STRING,
	 .offset = offsetof(struct zc_options, file),
	 .value_name = "FILE",
	 .help = "read a saved /config_dump instead of asking; - is stdin"},
	CLI_OPTION_OUTPUT(offsetof(struct zc_options, output)),
	{.name = "namespace",
	 .short_name = 'n',
	 .type = OPTION_STRING,
	 .offset = offsetof(struct zc_options, option_n),
	 .value_name = "NS",
	 .help = "only what is in this Kubernetes namespace; with ZTUNNEL that of the "
		 "pod (default: " KUBE_MESH_NAMESPACE ")"},
	ISTIOCTL_NAMESPACE("workload-namespace"),
	ISTIOCTL_NAMESPACE("service-namespace"),
	ISTIOCTL_NAMESPACE("policy-namespace"),
	{.name = "workload-node",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct zc_options, workload_node),
	 .value_name = "NAME",
	 .help = "workload: only what is on this node, whoever is asked"},
	{.name = "address",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct zc_options, address),
	 .value_name = "IP",
	 .help = "workload: only what has this address"},
	{.name = "direction",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct zc_options, direction),
	 .value_name = "DIR",
	 .help = "connections: inbound or outbound only"},
	{.name = "raw",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct zc_options, is_raw),
	 .help = "connections: addresses, not names"},
	{.name = "level",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct zc_options, level),
	 .value_name = "LEVEL",
	 .help = "log: error, warn, info, debug, trace or off, or scope:level; several with "
		 "commas"},
	{.name = "reset",
	 .short_name = 'r',
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct zc_options, is_reset),
	 .help = "log: back to the level ztunnel was started with"},
	{0},
};

static int zc_print_all(const json_t *dump, const struct zc_options *o);

static const struct zc_view views[] = {
	{"workload",
	 {"w", "workloads"},
	 "workloads",
	 "NAMESPACE, POD NAME, ADDRESS, NODE, WAYPOINT, PROTOCOL of every pod",
	 zc_print_workloads,
	 .is_everywhere = true},
	{"service",
	 {"svc", "services", "s"},
	 "services",
	 "services, their virtual addresses and how many endpoints are healthy",
	 zc_print_services,
	 .is_everywhere = true},
	{"policy",
	 {"pol", "policies", "p"},
	 "policies",
	 "authorization policies: action and scope",
	 zc_print_policies,
	 .is_everywhere = true},
	{"certificate",
	 {"cert", "certificates", "certs"},
	 "certificates",
	 "certificates that this ztunnel holds, and how long they last",
	 zc_print_certificates},
	{"connections",
	 {"cons", "connection"},
	 "workloadState",
	 "connections that are open now",
	 zc_print_connections},
	{"all", {NULL}, NULL, "all of the above", zc_print_all},
	{0},
};

static int zc_print_all(const json_t *dump, const struct zc_options *o)
{
	for (const struct zc_view *v = views; v->name; v++) {
		if (!v->key)
			continue;
		if (v != views)
			putchar('\n');
		if (v->print(dump, o) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool view_is_called(const struct zc_view *v, const char *name)
{
	if (streq(v->name, name))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(v->aliases) && v->aliases[i]; i++)
		if (streq(v->aliases[i], name))
			return true;
	return false;
}

static const struct zc_view *find_view(const char *name)
{
	for (const struct zc_view *v = views; v->name; v++)
		if (view_is_called(v, name))
			return v;
	return NULL;
}

static void print_help(void)
{
	puts("Usage: culvert ztunnel-config WHAT [ZTUNNEL | --node NAME | -f FILE] "
	     "[-o short|json|yaml]\n\n"
	     "Show what a node's ztunnel knows; ZTUNNEL is its pod in a cluster, NAME[.NS].\n"
	     "WHAT is one of:");
	for (const struct zc_view *v = views; v->name; v++)
		printf("  %-12s %-5s %s\n", v->name, v->aliases[0] ? v->aliases[0] : "", v->help);
	puts("  log                show the log level of every ztunnel, or of one; --level debug "
	     "changes it,\n                     --reset takes it back\n\n"
	     "Is a pod in the mesh? \"culvert zc workload\" shows HBONE beside it.\n"
	     "Was a connection denied? \"culvert zc policy\", and ztunnel's log names the policy.\n"
	     "\"culvert ztunnel-config WHAT --help\" lists the options.");
}

static int load_file(const char *path, json_t **ret)
{
	json_error_t err;
	json_t *v;

	v = streq(path, "-") ? json_loadf(stdin, 0, &err) : json_load_file(path, 0, &err);
	if (!v && err.line < 0)
		return cli_fail("%s", err.text);
	if (!v)
		return cli_fail("%s:%d: not a config dump: %s", path, err.line, err.text);
	*ret = v;
	return 0;
}

/* As the first node that answers has it. Return: 0; 1: told that none does; -ENOENT: there are not
 * several. */
static int load_any(const struct zc_options *o, json_t **ret)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	size_t n = nodes ? admin_find_nodes(o->node, o->run_dir, nodes, ADMIN_NODES_MAX) : 0;
	size_t tried = MIN(n, NODES_TRIED);
	int r = -ENOENT;

	if (n < 2)
		return -ENOENT;
	for (size_t i = 0; i < tried && r < 0; i++) {
		r = admin_get_json(&nodes[i], "ztunnel", "/config_dump", ret);
		if (r == 0 && streq(o->output, "short"))
			(void)fprintf(
				stderr,
				"culvert: as ztunnel of node %s has it; --node asks another\n",
				nodes[i].name);
	}
	return r < 0 ? admin_fail(&nodes[tried - 1], "ztunnel", r) : 0; /* whose error it is */
}

static int load_dump(const struct zc_view *view, const struct zc_options *o, json_t **ret)
{
	struct admin_node node;
	int r;

	if (o->file)
		return load_file(o->file, ret);
	r = view->is_everywhere ? load_any(o, ret) : -ENOENT;
	if (r >= 0)
		return r;
	r = admin_find_one(o->node, o->run_dir, &node);
	if (r > 0)
		return r;
	r = admin_get_json(&node, "ztunnel", "/config_dump", ret);
	return r == 0 ? 0 : admin_fail(&node, "ztunnel", r);
}

static int zc_show(const struct zc_view *view, const struct zc_options *o)
{
	_cleanup_(json_decrefp) json_t *dump = NULL;
	const json_t *part;
	int r;

	r = load_dump(view, o, &dump);
	if (r > 0)
		return r;
	if (!json_is_object(dump))
		return cli_fail("the config dump is not an object");
	if (streq(o->output, "short"))
		return view->print(dump, o) < 0 ? cli_fail("out of memory") : 0;
	zc_narrow(dump, o);
	part = view->key ? json_object_get(dump, view->key) : dump;
	if (!part)
		return cli_fail("the config dump has no \"%s\"", view->key);
	json_print(part, o->output);
	return 0;
}

/* level_of() - istioctl's words for levels in ztunnel's: "access:warning,critical" is
 * "access=warn,error"; caller frees. NULL: out of memory. */
static char *level_of(const char *words)
{
	_cleanup_(buf_resetp) struct buf out = {0};
	_cleanup_(freep) char *copy = strdup(words);
	char *rest = copy, *one;
	int r = copy ? 0 : -ENOMEM;

	while (r == 0 && (one = strsep(&rest, ","))) {
		/* "ztunnel::access" is one name */
		char *colon = strrchr(one, ':'), *level = strrchr(one, '=');

		if (colon && colon > one && colon[-1] != ':')
			*(level = colon) = '=';
		level = level ? level + 1 : one;
		r = buf_printf(&out, "%s%.*s%s", buf_len(&out) > 0 ? "," : "", (int)(level - one),
			       one,
			       streq(level, "warning")    ? "warn"
			       : streq(level, "critical") ? "error"
							  : level);
	}
	if (r == 0)
		r = buf_append(&out, "", 1);
	return r == 0 ? (char *)TAKE_PTR(out.data) : NULL;
}

/* log_target() - what is asked for; caller frees. NULL: out of memory. */
static char *log_target(const struct zc_options *o)
{
	_cleanup_(freep) char *level = NULL, *value = NULL;

	if (o->is_reset || !o->level)
		return str_format("/logging%s", o->is_reset ? "?reset" : "");
	level = level_of(o->level);
	value = level ? admin_escape(level) : NULL;
	return value ? str_format("/logging?level=%s", value) : NULL;
}

/* log_one() - @is_one: of all that are asked. Return: 0; 1, said on stderr. */
static int log_one(const struct admin_node *n, const struct zc_options *o, const char *target,
		   bool is_one)
{
	_cleanup_(buf_resetp) struct buf body = {0};
	int r = admin_request(n, "ztunnel", o->is_reset || o->level ? "POST" : "GET", target,
			      &body);

	if (r < 0)
		return admin_fail(n, "ztunnel", r);
	if (!is_one && n->pod[0])
		(void)fprintf(r == 200 ? stdout : stderr, "%s." KUBE_MESH_NAMESPACE ":\n", n->pod);
	else if (!is_one)
		(void)fprintf(r == 200 ? stdout : stderr, "%s:\n", n->name);
	(void)fwrite(buf_head(&body), 1, buf_len(&body), r == 200 ? stdout : stderr);
	return r == 200 ? 0 : 1;
}

/* zc_log() - read or change the log level: of all, as istioctl, where none is named. */
static int zc_log(const struct zc_options *o)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	_cleanup_(freep) char *target = log_target(o);
	size_t n;
	int r = 0;

	if (!nodes || !target)
		return cli_fail("out of memory");
	n = admin_find_nodes(o->node, o->run_dir, nodes, ADMIN_NODES_MAX);
	if (n == 0)
		return admin_none();
	for (size_t i = 0; i < n; i++)
		r |= log_one(&nodes[i], o, target, n == 1);
	return r;
}

static int check_options(struct zc_options *o)
{
	if (o->level && o->is_reset)
		return cli_fail(
			"ztunnel-config log: --level and --reset are not to be given together");
	if (cli_check_output("ztunnel-config", &o->output) > 0)
		return 1;
	if (o->direction && !streq(o->direction, "inbound") && !streq(o->direction, "outbound"))
		return cli_fail("--direction %s: neither inbound nor outbound", o->direction);
	if (o->pod && (o->node || o->run_dir || o->file))
		return cli_fail("ztunnel-config: a pod is not to be given together with --node, "
				"--run-dir or --file");
	return 0;
}

/* is_any() - istioctl takes the name of the DaemonSet, too: whichever of its pods. */
static bool is_any(const char *word)
{
	return streq(word, "daemonset/ztunnel") || streq(word, "ds/ztunnel");
}

static bool is_ztunnel(const json_t *pod, const struct kube_target *t)
{
	const char *app = kube_meta(pod, "labels", "app");

	return streq(t->namespace_, KUBE_MESH_NAMESPACE) && app && streq(app, "ztunnel");
}

/* node_of_pod() - of the ztunnel that the argument names. Return: 0; 1, told. */
static int node_of_pod(const struct zc_options *o, char ret[CLI_PATH_MAX])
{
	const struct kube_target_ask ask = {"ztunnel-config", o->pod, o->option_n,
					    KUBE_MESH_NAMESPACE};
	_cleanup_(json_decrefp) json_t *pod = NULL;
	struct kube_target t;
	struct kube *k;

	if (kube_is_there() && !admin_is_remote(NULL, NULL))
		return cli_fail("ztunnel-config: %s: there are nodes on this machine, which come "
				"first: --node names one, --kubeconfig or --context the cluster",
				o->pod);
	k = admin_remote_kube();
	if (!k || kube_target_pod(k, &ask, &t, &pod) > 0 ||
	    kube_target_node(pod, &t, ask.command, ret) > 0)
		return 1;
	return is_ztunnel(pod, &t)
		       ? 0
		       : cli_fail("ztunnel-config: pod %s in namespace %s is no ztunnel; "
				  "--node %s names that of its node",
				  t.name, t.namespace_, ret);
}

int cli_ztunnel_config(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = zc_defs,
		.usage = "culvert ztunnel-config WHAT [ZTUNNEL | --node NAME | -f FILE] "
			 "[-o short|json|yaml]",
		.help = "WHAT: workload (w), service (svc), policy, certificate, connections, all, "
			"log. ZTUNNEL: the pod whose word it is, [pod/]NAME[.NS] or NS/NAME.",
		.max_rest = 1,
	};
	char node[CLI_PATH_MAX];
	const struct zc_view *view;
	struct zc_options o = {0};
	int r;

	if (argc < 2 || streq(argv[1], "--help") || streq(argv[1], "-h")) {
		print_help();
		return argc < 2 ? 2 : 0;
	}
	view = find_view(argv[1]);
	if (!view && !streq(argv[1], "log") && !streq(argv[1], "o")) {
		(void)cli_fail("ztunnel-config: \"%s\" is unknown; --help lists what can be shown",
			       argv[1]);
		return 2;
	}
	r = cli_parse(&syntax, &o, argc - 1, argv + 1);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	o.pod = r < argc - 1 && !is_any(argv[r + 1]) ? argv[r + 1] : NULL;
	if (check_options(&o) > 0)
		return 2;
	if (o.pod && node_of_pod(&o, node) > 0)
		return 1;
	if (o.pod)
		o.node = node;
	else if (!o.namespace_)
		o.namespace_ = o.option_n;
	return view ? zc_show(view, &o) : zc_log(&o);
}
