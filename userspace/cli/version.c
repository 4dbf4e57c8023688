/* SPDX-License-Identifier: Apache-2.0 */
/* version - which build this is, and which builds a cluster runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"

#ifndef CULVERT_VERSION
#define CULVERT_VERSION "unknown"
#endif
#define VERSION_MAX 256

struct version_options {
	bool is_short, is_local, is_remote;
	const char *output;
};

static const struct option_def version_defs[] = {
	{.name = "short",
	 .short_name = 's',
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct version_options, is_short),
	 .help = "this program's alone, without words"},
	{.name = "client",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct version_options, is_local),
	 .help = "this program's alone: no cluster is asked"},
	{.name = "remote",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct version_options, is_remote),
	 .default_value = "true",
	 .help = "the cluster's, too; --remote=false is --client"},
	CLI_OPTION_OUTPUT(offsetof(struct version_options, output)),
	{0},
};

const char *cli_build(void)
{
	return CULVERT_VERSION;
}

/* version_of() - what the program in that container says of itself. Return: @into, or static. */
static const char *version_of(const struct admin_node *n, const char *part, char into[VERSION_MAX])
{
	static const char *const command[] = {ADMIN_REMOTE_PROGRAM, "version", "--short", NULL};
	_cleanup_(buf_resetp) struct buf out = {0};

	if (admin_remote_run(n, part, command, &out) != 0 || buf_len(&out) == 0)
		return "unknown";
	return admin_remote_line(&out, into, VERSION_MAX);
}

static void count_one(json_t *counted, const char *version)
{
	(void)json_object_set_new(counted, version,
				  json_integer(json_number(counted, version) + 1));
}

/* revision_of() - {"controlPlane": {}, "dataPlane": {}} of a revision, made when it is new.
 * Borrowed.
 */
static json_t *revision_of(json_t *revisions, const char *name)
{
	json_t *one = json_object_get(revisions, name);

	if (one)
		return one;
	one = json_pack("{s:{},s:{}}", "controlPlane", "dataPlane");
	return json_object_set_new(revisions, name, one) < 0 ? NULL : one;
}

/* name_one() - in istioctl's words, for who reads its JSON. */
static void name_one(json_t *all, const struct admin_node *n, bool is_control, const char *version)
{
	json_t *one = is_control ? json_pack("{s:s,s:{s:s}}", "Component", "pilot", "Info",
					     "version", version)
				 : json_pack("{s:o,s:s}", "ID",
					     json_sprintf("%s." KUBE_MESH_NAMESPACE, n->pod),
					     "IstioVersion", version);

	(void)json_array_append_new(
		json_object_get(all, is_control ? "meshVersion" : "dataPlaneVersion"), one);
}

/* count() - how many of each, {"version": number}, into all.KEY and into that of their revisions.
 */
static void count(json_t *all, const struct admin_node *nodes, int n, const char *part)
{
	bool is_control = streq(part, "control");
	const char *key = is_control ? "controlPlane" : "dataPlane";
	json_t *counted = json_object(), *revisions = json_object_get(all, "revisions");

	for (int i = 0; i < n; i++) {
		char text[VERSION_MAX];
		const char *v = version_of(&nodes[i], part, text);
		const char *name = *nodes[i].revision ? nodes[i].revision : "default";

		count_one(counted, v);
		count_one(json_object_get(revision_of(revisions, name), key), v);
		name_one(all, &nodes[i], is_control, v);
	}
	(void)json_object_set_new(all, key, counted);
}

static void print_counted(const char *title, const json_t *counted, const char *unit)
{
	const char *version, *sep = " ";
	const json_t *n;

	printf("%s:", title);
	json_object_foreach ((json_t *)(uintptr_t)counted, version, n) {
		printf("%s%s (%lld %s)", sep, version, (long long)json_integer_value(n), unit);
		sep = ", ";
	}
	putchar('\n');
}

/* ask() - what runs, into @all. Return: 0; 1. */
static int ask(json_t *all)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	int n = nodes ? admin_remote_control(nodes, ADMIN_NODES_MAX) : -1;

	if (n < 0)
		return 1;
	(void)json_object_set_new(all, "revisions", json_object());
	(void)json_object_set_new(all, "meshVersion", json_array());
	(void)json_object_set_new(all, "dataPlaneVersion", json_array());
	count(all, nodes, n, "control");
	n = admin_remote_nodes(NULL, nodes, ADMIN_NODES_MAX);
	if (n < 0)
		return 1;
	count(all, nodes, n, "ztunnel");
	return 0;
}

static void print_kernel(void)
{
	struct utsname u;

	if (uname(&u) == 0)
		printf("kernel: %s %s %s\n", u.sysname, u.release, u.machine);
}

/* Only where there are several. */
static void print_revisions(const json_t *revisions)
{
	const char *name;
	const json_t *one;

	if (json_object_size(revisions) < 2)
		return;
	json_object_foreach ((json_t *)(uintptr_t)revisions, name, one) {
		const json_t *data = json_object_get(one, "dataPlane");

		printf("revision %s\n", name);
		print_counted("  control plane version", json_object_get(one, "controlPlane"),
			      "replicas");
		if (json_object_size(data) > 0)
			print_counted("  data plane version", data, "nodes");
	}
}

static void print_cluster(const json_t *all)
{
	const json_t *control = json_object_get(all, "controlPlane");
	const json_t *data = json_object_get(all, "dataPlane");

	if (json_object_size(control) == 0 && json_object_size(data) == 0) {
		puts("no ready Culvert pods in \"istio-system\"");
		printf("client version: %s\n", CULVERT_VERSION);
		return;
	}
	printf("client version: %s\n", CULVERT_VERSION);
	print_counted("control plane version", control, "replicas");
	print_counted("data plane version", data, "nodes");
	print_revisions(json_object_get(all, "revisions"));
}

int cli_version(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = version_defs,
		.usage = "culvert version [--short | --client | --remote] [-o short|json|yaml]",
		.help = "Print which build of Culvert this is, and which builds the control plane "
			"and the nodes of the cluster run; without a cluster, the kernel here.",
	};
	_cleanup_(json_decrefp) json_t *all = NULL;
	struct version_options o = {0};
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("version", &o.output) > 0)
		return 2;
	if (o.is_short) {
		puts(CULVERT_VERSION);
		return 0;
	}
	all = json_pack("{s:s,s:{s:s}}", "client", CULVERT_VERSION, "clientVersion", "version",
			CULVERT_VERSION);
	r = !o.is_local && o.is_remote && kube_is_there() ? ask(all) : 0;
	if (!streq(o.output, "short")) {
		json_print(all, o.output);
	} else if (json_object_get(all, "dataPlane")) {
		print_cluster(all);
	} else {
		printf("client version: %s\n", CULVERT_VERSION);
		print_kernel();
	}
	return r;
}
