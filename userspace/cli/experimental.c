/* SPDX-License-Identifier: Apache-2.0 */
/* experimental - istioctl's words after x: authz check, the policies of a pod, is here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "kube.h"
#include "kube_target.h"
#include "table.h"
#include "term.h"

struct authz_options {
	const char *node, *run_dir, *namespace_, *output;
};

static const struct option_def authz_defs[] = {
	CLI_OPTION_NODE(
		offsetof(struct authz_options, node),
		"whose ztunnel is asked (default: the first that answers; all know all policies)"),
	CLI_OPTION_RUN_DIR(offsetof(struct authz_options, run_dir)),
	{.name = "namespace",
	 .short_name = 'n',
	 .type = OPTION_STRING,
	 .offset = offsetof(struct authz_options, namespace_),
	 .value_name = "NS",
	 .help = "the pod's namespace, when POD is a bare name (default in a cluster: that of the "
		 "context)"},
	CLI_OPTION_OUTPUT(offsetof(struct authz_options, output)),
	{0},
};

static const char *note_of(const json_t *p)
{
	const char *error = json_text(p, "error", NULL);

	if (error)
		return error;
	return json_is_true(json_object_get(p, "dryRun")) ? "dry run: only logged" : "";
}

static int print_policies(const json_t *policies)
{
	static const char *const headers[] = {
		"ACTION", "AuthorizationPolicy", "RULES", "SCOPE", "NOTE", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *p;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (policies, i, p) {
		char rules[TERM_NUMBER];
		_cleanup_(freep) char *action = str_format("%s", json_text(p, "action", ""));
		const char *cells[] = {action, json_text(p, "key", ""), rules,
				       json_text(p, "scope", ""), note_of(p)};

		for (char *c = action; c && *c; c++)
			*c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
		(void)snprintf(rules, sizeof(rules), "%zu",
			       json_array_size(json_object_get(p, "rules")));
		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}

static int show(const json_t *answer, const char *output)
{
	const json_t *policies = json_object_get(answer, "policies");
	const json_t *w = json_object_get(answer, "workload");

	if (!streq(output, "short")) {
		json_print(answer, output);
		return 0;
	}
	if (json_array_size(policies) == 0) {
		printf("no policy applies to %s/%s: everybody may connect\n",
		       json_text(w, "namespace", ""), json_text(w, "name", ""));
		return 0;
	}
	return print_policies(policies) < 0 ? cli_fail("out of memory") : 0;
}

/* named() - the pod with its namespace, where a bare name has one: as kubectl, that of the option,
 * or in a cluster of the context. Caller frees. NULL: out of memory. */
static char *named(const struct authz_options *o, const char *word)
{
	const char *pod = kube_target_untyped(word), *ns = o->namespace_;
	struct kube *k = !ns && admin_is_remote(o->node, o->run_dir) ? admin_remote_kube() : NULL;

	ns = k ? kube_namespace(k) : ns;
	return ns && !strpbrk(pod, "/.:") ? str_format("%s/%s", ns, pod) : str_format("%s", pod);
}

static int authz_check(const struct authz_options *o, const char *pod)
{
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	_cleanup_(freep) char *name = named(o, pod);
	_cleanup_(freep) char *value = name ? admin_escape(name) : NULL;
	_cleanup_(freep) char *target = str_format("/explain/policies?pod=%s", value ? value : "");
	size_t n;
	int r = -ENOENT;

	if (!found || !target || !value)
		return cli_fail("out of memory");
	n = admin_find_nodes(o->node, o->run_dir, found, ADMIN_NODES_MAX);
	if (n == 0)
		return admin_none();
	for (size_t i = 0; i < n; i++) {
		_cleanup_(json_decrefp) json_t *answer = NULL;

		r = admin_ask_json(&found[i], "ztunnel", target, &answer);
		if (r == 200)
			return show(answer, o->output);
		if (r > 0)
			return cli_fail("%s", json_text(answer, "error", "no usable answer"));
	}
	return admin_fail(&found[0], "ztunnel", r);
}

static int cli_authz(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = authz_defs,
		.usage = "culvert x authz check [options] POD",
		.help = "Show the authorization policies that apply to a pod, those that "
			"PeerAuthentication became too. POD: NAME, NAMESPACE/NAME, NAME.NAMESPACE "
			"or an address. \"culvert explain\" says what they decide.",
		.max_rest = 1,
	};
	struct authz_options o = {0};
	int r;

	if (argc < 2 || !streq(argv[1], "check")) {
		bool is_help = argc > 1 && (streq(argv[1], "--help") || streq(argv[1], "-h"));

		if (is_help)
			option_help(authz_defs, syntax.usage, syntax.help);
		else
			(void)fprintf(stderr, "Usage: %s\n", syntax.usage);
		return is_help ? 0 : 2;
	}
	r = cli_parse(&syntax, &o, argc - 1, argv + 1);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("x authz check", &o.output) > 0)
		return 2;
	if (r == argc - 1) {
		(void)cli_fail("x authz check: which pod?\nUsage: %s", syntax.usage);
		return 2;
	}
	return authz_check(&o, argv[1 + r]);
}

int cli_experimental(int argc, char **argv)
{
	static const struct cli_command table[] = {
		{"authz", NULL, "authz check POD: the policies that apply to a pod", cli_authz},
		{"precheck", NULL, "the same as culvert precheck", cli_precheck},
		{"describe", NULL, "the same as culvert describe", cli_describe},
		{0},
	};

	return cli_sub("x", table, argc, argv);
}
