/* SPDX-License-Identifier: Apache-2.0 */
/* explain - why one connection would be let in or not. ztunnel of the source's node says where it
 * goes and with which certificate, ztunnel of each destination's node what its policies say, the
 * kernel's maps whether it is captured at all. */
#include "explain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "past.h"

/* Of what the words mean besides: each takes some questions to its nodes. */
#define ALTERNATIVES_MAX 15

struct explain_options {
	const char *node, *run_dir, *output;
	bool is_past;
	uint64_t last;
};

static const struct option_def explain_defs[] = {
	CLI_OPTION_NODE(offsetof(struct explain_options, node),
			"whose ztunnel is asked first (default: any of this machine)"),
	CLI_OPTION_RUN_DIR(offsetof(struct explain_options, run_dir)),
	{.name = "past",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct explain_options, is_past),
	 .help = "connections that are over: how each went, and why"},
	{.name = "last",
	 .type = OPTION_U64,
	 .offset = offsetof(struct explain_options, last),
	 .default_value = "20",
	 .max = 1000000,
	 .value_name = "N",
	 .help = "with --past: the N newest of them; 0: all that are remembered"},
	CLI_OPTION_OUTPUT(offsetof(struct explain_options, output)),
	{0},
};

/* ask() - /explain of one node. Return: 0; -errno; the exit code, told, when it has no answer. */
static int ask(const struct admin_node *n, const char *target, json_t **ret)
{
	json_t *answer;
	int r = admin_ask_json(n, "ztunnel", target, &answer);

	if (r < 0)
		return r;
	if (r == 200) {
		*ret = answer;
		return 0;
	}
	r = cli_fail("explain: %s", json_text(answer, "error", "no usable answer"));
	json_decref(answer);
	return r;
}

/* ask_source() - the ztunnel of the source's node if it is here, else any. @ret_node: who answered.
 */
static int ask_source(const struct admin_node *nodes, size_t count, const char *target,
		      struct admin_node *ret_node, json_t **ret)
{
	struct admin_node home;
	json_t *better;
	size_t i = 0;
	int r;

	do {
		r = ask(&nodes[i], target, ret);
	} while (r < 0 && ++i < count);
	if (r < 0)
		return admin_fail(&nodes[count - 1], "ztunnel", r); /* whose error it is */
	if (r > 0)
		return r;
	*ret_node = nodes[i];
	if (admin_find_beside(&nodes[i], json_text(json_object_get(*ret, "from"), "node", ""),
			      &home) &&
	    !streq(home.name, nodes[i].name) && ask(&home, target, &better) == 0) {
		json_decref(*ret);
		*ret = better;
		*ret_node = home;
	}
	return 0;
}

/* note() - what could not be asked, once. */
static void note(json_t *answer, const char *what)
{
	json_t *list = json_object_get(answer, "notAsked");

	if (!json_has_text(list, what))
		(void)json_array_append_new(list, json_string(what));
}

/* leave_to_application() - what comes in plaintext to a port, or from an address, that the pod's
 * annotations exclude meets no policy. Return: it is so, and said in @route. */
static bool leave_to_application(const struct admin_node *asked, json_t *answer, json_t *route)
{
	const json_t *w = json_object_get(route, "workload");
	_cleanup_(json_decrefp) json_t *status = NULL;
	struct admin_node n = *asked;
	int r = -ENOENT;

	if (!streq(json_text(route, "kind", ""), "plain"))
		return false;
	if ((streq(json_text(w, "node", ""), n.name) ||
	     admin_find_beside(asked, json_text(w, "node", ""), &n)) &&
	    admin_get_json(&n, "agent", "/status", &status) == 0)
		r = explain_node_excludes(
			&n, json_text(status, "pin_dir", ""), json_text(route, "target", ""),
			json_text(json_object_get(answer, "from"), "address", NULL));
	if (r < 0)
		note(answer, "whether an annotation of the endpoint's pod leaves it to the "
			     "application");
	if (r <= 0)
		return false;
	(void)json_object_set_new(route, "inbound", json_null());
	(void)json_object_set_new(route, "isExcluded", json_true());
	return true;
}

/* leave_tunnel() - what the source's kernel lets past ztunnel comes in plaintext, whatever ztunnel
 * would have done with it. Return: this route is one of these. */
static bool leave_tunnel(const json_t *answer, json_t *route)
{
	const char *path = json_text(json_object_get(answer, "kernel"), "path", "");

	if (!streq(json_text(route, "kind", ""), "tunnel") ||
	    (!streq(path, "excluded") && !streq(path, "uncaptured")))
		return false;
	(void)json_object_set_new(route, "kind", json_string("plain"));
	(void)json_object_set(route, "dial", json_object_get(route, "target"));
	(void)json_object_set_new(route, "identities", json_array());
	return true;
}

/* ask_destination() - the word of the node that will decide replaces that of the source's. */
static int ask_destination(const struct admin_node *asked, json_t *answer, json_t *route)
{
	const json_t *from = json_object_get(answer, "from");
	bool is_changed = leave_tunnel(answer, route);
	const json_t *w = json_object_get(route, "workload");
	bool is_tunnel = streq(json_text(route, "kind", ""), "tunnel");
	_cleanup_(freep) char *uid = admin_escape(json_text(w, "uid", ""));
	_cleanup_(freep) char *identity =
		admin_escape(is_tunnel ? json_text(from, "identity", "") : "");
	_cleanup_(freep) char *dst = admin_escape(json_text(route, "target", ""));
	_cleanup_(freep) char *target = NULL;
	const char *by = asked->name;
	json_t *verdict = NULL;
	struct admin_node home;

	if (!json_is_object(json_object_get(route, "inbound")) ||
	    leave_to_application(asked, answer, route))
		return 0;
	target = str_format("/explain/inbound?to=%s&dst=%s&src=%s&identity=%s", uid ? uid : "",
			    dst ? dst : "", json_text(from, "address", ""),
			    identity ? identity : "");
	if (!uid || !identity || !dst || !target)
		return -ENOMEM;
	if (!admin_find_beside(asked, json_text(w, "node", ""), &home))
		home = *asked;
	if (!json_object_get(json_object_get(route, "inbound"), "status") &&
	    (is_changed || !streq(home.name, asked->name)) &&
	    admin_get_json(&home, "ztunnel", target, &verdict) == 0) {
		(void)json_object_set_new(route, "inbound", verdict);
		by = home.name;
	}
	return json_object_set_new(route, "evaluatedBy", json_string(by));
}

/* add_kernel() - `kernel`, null where the maps cannot be read. The source's node is asked even if
 * its ztunnel is gone. */
static int add_kernel(const struct admin_node *asked, json_t *answer)
{
	const json_t *from = json_object_get(answer, "from"), *pod = NULL;
	_cleanup_(json_decrefp) json_t *status = NULL;
	struct admin_node n = *asked;
	json_t *kernel = NULL;

	if ((streq(json_text(from, "node", ""), n.name) ||
	     admin_find_beside(asked, json_text(from, "node", ""), &n)) &&
	    admin_get_json(&n, "agent", "/status", &status) == 0)
		pod = json_find_named(json_object_get(status, "pods"),
				      json_text(from, "namespace", ""),
				      json_text(from, "name", ""));
	if (pod)
		kernel = explain_node_kernel(
			&n, json_text(status, "pin_dir", ""),
			(uint64_t)json_number(pod, "netns_cookie"),
			json_text(json_object_get(answer, "to"), "address", ""));
	if (!json_is_object(kernel) && !json_is_false(json_object_get(from, "isEnrolled")))
		note(answer, "the kernel of the source's node, so exclusions by annotation, "
			     "REGISTRY_ONLY and direct connections inside the node");
	return json_object_set_new(answer, "kernel", kernel ? kernel : json_null());
}

/* complete() - what one ztunnel said, with what the others and the kernel have to say. */
static int complete(const struct admin_node *asked, json_t *answer)
{
	const json_t *from = json_object_get(answer, "from");
	bool is_source = streq(json_text(from, "node", ""), asked->name);
	json_t *route;
	size_t i;

	if (json_object_set_new(answer, "askedNode", json_string(asked->name)) < 0 ||
	    json_object_set_new(answer, "hasAskedSource", json_boolean(is_source)) < 0 ||
	    json_object_set_new(answer, "notAsked", json_array()) < 0 ||
	    add_kernel(asked, answer) < 0)
		return -ENOMEM;
	json_array_foreach (json_object_get(answer, "routes"), i, route)
		if (ask_destination(asked, answer, route) < 0)
			return -ENOMEM;
	return explain_conclude(answer);
}

/** struct asked - who may be asked, and of whom. */
struct asked {
	struct admin_node *nodes;
	size_t count;
	const char *from;
};

/* ask_whole() - everybody who has a say. Return: 0; the exit code, told. */
static int ask_whole(const struct asked *a, const char *to, json_t **ret)
{
	_cleanup_(freep) char *f = admin_escape(a->from), *t = admin_escape(to), *target = NULL;
	_cleanup_(json_decrefp) json_t *answer = NULL;
	struct admin_node asked = {0};
	int r;

	target = str_format("/explain?from=%s&to=%s", f ? f : "", t ? t : "");
	if (!f || !t || !target)
		return cli_fail("out of memory");
	r = ask_source(a->nodes, a->count, target, &asked, &answer);
	if (r > 0)
		return r;
	if (complete(&asked, answer) < 0)
		return cli_fail("out of memory");
	*ret = TAKE_PTR(answer);
	return 0;
}

/* ask_others() - what the words mean besides: `alternatives`, and how many have no answer there. */
static void ask_others(const struct asked *a, json_t *answer)
{
	json_t *to = json_object_get(answer, "to"), *list = json_array(), *v, *other = NULL;
	const json_t *others = json_object_get(to, "others");
	json_int_t more = json_number(to, "moreOthers");
	size_t i;

	json_array_foreach (others, i, v)
		if (i < ALTERNATIVES_MAX && ask_whole(a, json_string_value(v), &other) == 0)
			(void)json_array_append_new(list, other);
		else
			more++;
	(void)json_object_del(to, "others");
	(void)json_object_del(to, "moreOthers");
	(void)json_object_set_new(answer, "alternatives", list);
	(void)json_object_set_new(answer, "moreAlternatives", json_integer(more));
}

static int explain(const struct explain_options *o, const char *from, const char *to)
{
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	_cleanup_(json_decrefp) json_t *answer = NULL;
	struct asked a = {.nodes = found, .from = from};
	int r;

	if (!found)
		return cli_fail("out of memory");
	a.count = admin_find_nodes(o->node, o->run_dir, found, ADMIN_NODES_MAX);
	if (a.count == 0)
		return admin_none();
	r = ask_whole(&a, to, &answer);
	if (r > 0)
		return r;
	ask_others(&a, answer);
	if (!streq(o->output, "short"))
		json_print(answer, o->output);
	else if (explain_print(answer) < 0)
		return cli_fail("out of memory");
	return 0;
}

int cli_explain(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = explain_defs,
		.usage = "culvert explain [options] FROM TO[:PORT]\n"
			 "       culvert explain --past [options] [FROM [TO[:PORT]]]",
		.help = "Say what would become of a connection from a pod to a pod, a service or "
			"an "
			"address: captured or not, which endpoints, which certificate, which "
			"policies, which verdict, and what would change it. ztunnel itself "
			"evaluates it; nothing is sent. FROM: NAME, NAMESPACE/NAME, "
			"NAME.NAMESPACE or an address. TO: the same, or a service by its name; "
			"without PORT each port of the service, or each to which a service leads "
			"at the pod; of a headless service each pod. "
			"With --past: what became of those that have ended, were denied or never "
			"came about, newest last, and why, in the words of the access log. Every "
			"ztunnel remembers its last ones, logged or not, since it was started; the "
			"agent what the kernel refused, dropped or let past the mesh by itself, "
			"where the same again counts instead of standing there again. The first "
			"lines say how far that reaches. Each end that is in the mesh tells of its "
			"own: out is the client's, in the server's.",
		.max_rest = 2,
	};
	struct explain_options o = {0};
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("explain", &o.output) > 0)
		return 2;
	if (o.is_past)
		return past_ask(o.node, o.run_dir, o.output, o.last,
				(const char *const[2]){r < argc ? argv[r] : NULL,
						       r + 1 < argc ? argv[r + 1] : NULL});
	if (argc - r != 2) {
		(void)cli_fail("explain: from where to where?\nUsage: %s", syntax.usage);
		return 2;
	}
	return explain(&o, argv[r], argv[r + 1]);
}
