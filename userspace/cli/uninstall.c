/* SPDX-License-Identifier: Apache-2.0 */
/* uninstall - pods are let go first, so that nothing is cut; then what could stand in anybody's way
 * goes, then the rest. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_remote.h"
#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "install.h"
#include "install_words.h"
#include "json.h"
#include "kube_kinds.h"
#include "source/honoured.h"

#define US_PER_S  1000000u
#define RELEASE_S 20 /* after which an agent that says nothing is not waited for */
#define NAMESPACE "/api/v1/namespaces/" KUBE_MESH_NAMESPACE
#define CLASSES                                                                                    \
	"/apis/gateway.networking.k8s.io/v1/gatewayclasses?labelSelector=" HONOURED_MAKER_LABEL    \
	"%3D" HONOURED_MAKER
#define ROOT_CERTS "/api/v1/configmaps?fieldSelector=metadata.name%3Distio-ca-root-cert"

struct uninstall_options {
	struct install_choices choices;
	bool is_purge;
};

static const struct option_def defs[] = {
	{.name = "purge",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct uninstall_options, is_purge),
	 .help = "all there is: the CA's key, the definitions that nobody uses, the namespace if "
		 "it "
		 "was made by us"},
	INSTALL_CHOICES(struct uninstall_options, choices, "only if this revision is installed",
			"say what would be removed", "120",
			"how long to wait for pods of the mesh to end"),
	{0},
};

/** struct job - one uninstallation. */
struct job {
	struct uninstall_options options;
	struct install_run run;
	json_t *objects; /* that are to go, in the order of making; kept kinds are not among them */
	json_t *kept;    /* namespaces and definitions of ours */
};

static bool has(const json_t *list, const json_t *object)
{
	const json_t *one;
	size_t i;

	json_array_foreach (list, i, one)
		if (kube_kind_of(one) == kube_kind_of(object) &&
		    streq(kube_name(one), kube_name(object)) &&
		    streq(kube_ns(one), kube_ns(object)))
			return true;
	return false;
}

/* add_unlabelled() - what kubectl or Helm applied has no label: it is known by its name. */
static int add_unlabelled(struct job *j, const json_t *planned)
{
	const json_t *one;
	size_t i;

	json_array_foreach (planned, i, one) {
		_cleanup_(freep) char *path = kube_path_of(one);
		_cleanup_(json_decrefp) json_t *there = NULL;

		if (kube_kind_of(one)->is_kept || has(j->objects, one))
			continue;
		if (!path)
			return -ENOMEM;
		if (kube_get(j->run.kube, path, &there) == 0 &&
		    json_array_append(j->objects, there) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int collect(struct job *j)
{
	_cleanup_(json_decrefp) json_t *all = NULL, *planned = NULL;
	const struct install_words none = {0};
	char err[CHART_ERROR_MAX] = "out of memory";
	struct install_plan p = {0};
	int r = install_labelled(&j->run, &all);
	json_t *one;
	size_t i;

	if (r != 0)
		return r;
	j->objects = json_array();
	j->kept = json_array();
	json_array_foreach (all, i, one)
		(void)json_array_append(kube_kind_of(one)->is_kept ? j->kept : j->objects, one);
	r = install_words_plan(&none, NULL, &p, NULL, err);
	if (r == 0)
		r = install_plan_objects(&p, &planned, err);
	json_decref(p.values);
	if (r == 0)
		r = add_unlabelled(j, planned);
	return r < 0 ? cli_fail("uninstall: %s", err) : 0;
}

static bool is_agreed(const struct job *j)
{
	const json_t *one;
	size_t i;

	puts("These objects will be removed:");
	json_array_foreach (j->objects, i, one) {
		_cleanup_(freep) char *title = kube_title(one);

		printf("  %s\n", title ? title : "");
	}
	if (j->options.is_purge)
		puts("  and every key, certificate and definition of the mesh");
	if (j->options.choices.is_yes || j->run.is_dry || confirm("Proceed?"))
		return true;
	puts("Nothing was removed.");
	return false;
}

/* pods_left() - how many pods this node's agent still holds; those count whose connections under
 * way get their last seconds. Return: -errno: it does not say. */
static int pods_left(const struct admin_node *n)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	int r = admin_get_json(n, "agent", "/status", &status);

	return r < 0 ? r
		     : (int)json_array_size(json_object_get(status, "pods")) +
			       (int)json_number(status, "draining");
}

static void nodes_wait(struct job *j, const struct admin_node *nodes, int count)
{
	uint64_t until_us =
		now_monotonic_us() + MIN((uint64_t)RELEASE_S * US_PER_S, j->run.timeout_us);

	for (int i = 0; i < count; i++) {
		int left;

		while ((left = pods_left(&nodes[i])) != 0 && now_monotonic_us() < until_us) {
			if (left < 0)
				progress_wait(&j->run.progress, "node %s: its agent says nothing",
					      nodes[i].name);
			else
				progress_wait(&j->run.progress, "node %s: %d pods are in the mesh",
					      nodes[i].name, left);
			install_sleep(&j->run);
		}
		if (left != 0)
			progress_note(
				&j->run.progress,
				"node %s: it cannot be seen whether its pods are released: %s",
				nodes[i].name, left < 0 ? admin_remote_why() : "they are not yet");
	}
}

static int release(struct job *j)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	int count = nodes ? admin_remote_nodes(NULL, nodes, ADMIN_NODES_MAX) : -1;

	if (count < 0)
		return 1;
	if (count == 0)
		return 0;
	if (install_release(&j->run, true) != 0)
		return 1;
	nodes_wait(j, nodes, count);
	progress_done(&j->run.progress, "Pods released on %d nodes: they go on without the mesh",
		      count);
	return 0;
}

static int remove_rank(struct job *j, enum kube_rank rank)
{
	size_t n = json_array_size(j->objects);

	while (n-- > 0) {
		const json_t *one = json_array_get(j->objects, n);
		int r;

		if (kube_kind_of(one)->rank != rank)
			continue;
		r = install_delete(&j->run, one);
		if (r < 0) {
			_cleanup_(freep) char *title = kube_title(one);

			return kube_fail(j->run.kube, title ? title : "object");
		}
	}
	return 0;
}

/* gone_wait() - until a list is empty, or an object is not there. */
static int gone_wait(struct job *j, const char *path, bool is_list, const char *what)
{
	uint64_t until_us = now_monotonic_us() + j->run.timeout_us;

	for (;;) {
		_cleanup_(json_decrefp) json_t *got = NULL;
		int r = is_list ? kube_list(j->run.kube, path, &got)
				: kube_get(j->run.kube, path, &got);

		if (r == -ENOENT || (r == 0 && is_list && json_array_size(got) == 0))
			return 0;
		if (now_monotonic_us() >= until_us)
			return cli_fail("%s: not gone in time%s%s", what, r < 0 ? ": " : "",
					r < 0 ? kube_why(j->run.kube) : "");
		progress_wait(&j->run.progress, "waiting for %s to be gone", what);
		install_sleep(&j->run);
	}
}

/* Others than ours may go by these names: only our label selectors' pods are waited for. */
static int remove_workloads(struct job *j)
{
	int r = remove_rank(j, KUBE_RANK_NODE);

	if (r == 0)
		r = remove_rank(j, KUBE_RANK_CONTROL);
	if (r == 0)
		r = gone_wait(j, NAMESPACE "/pods?labelSelector=app%20in%20(istiod,ztunnel)", true,
			      "the mesh's pods");
	if (r == 0)
		progress_done(&j->run.progress, "Control plane and node agents removed");
	return r;
}

static int delete_all(struct job *j, const char *path, const char *prefix)
{
	_cleanup_(json_decrefp) json_t *some = NULL;
	int r = kube_list(j->run.kube, path, &some);
	const json_t *one;
	size_t i;

	if (r < 0)
		return r == -ENOENT || r == -EACCES ? 0 : kube_fail(j->run.kube, path);
	json_array_foreach (some, i, one)
		if (str_has_prefix(kube_name(one), prefix) && install_delete(&j->run, one) < 0)
			return kube_fail(j->run.kube, kube_name(one));
	return 0;
}

/* A definition takes all objects of its kind with it: one that is in use stays. */
static int remove_definition(struct job *j, const json_t *crd)
{
	const json_t *spec = json_object_get(crd, "spec");
	const json_t *versions = json_object_get(spec, "versions");
	const char *plural = json_text(json_object_get(spec, "names"), "plural", "");
	_cleanup_(freep) char *path =
		str_format("/apis/%s/%s/%s", json_text(spec, "group", ""),
			   json_text(json_array_get(versions, 0), "name", ""), plural);
	_cleanup_(json_decrefp) json_t *used = NULL;
	int r = path ? kube_list(j->run.kube, path, &used) : -ENOMEM;

	if (r < 0 && r != -ENOENT)
		return kube_fail(j->run.kube, kube_name(crd));
	if (json_array_size(used) > 0) {
		progress_note(&j->run.progress,
			      "%s stays: there are %zu of them, which would go, too",
			      kube_name(crd), json_array_size(used));
		return 0;
	}
	return install_delete(&j->run, crd) < 0 ? kube_fail(j->run.kube, kube_name(crd)) : 0;
}

/* is_namespace_empty() - nobody else's pods or services in it? */
static bool is_namespace_empty(struct job *j)
{
	static const char *const paths[] = {NAMESPACE "/pods", NAMESPACE "/services"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_(json_decrefp) json_t *some = NULL;

		if (kube_list(j->run.kube, paths[i], &some) < 0 || json_array_size(some) > 0)
			return false;
	}
	return true;
}

static int remove_kept(struct job *j)
{
	bool is_namespace = false;
	const json_t *one;
	size_t i;
	int r = 0;

	json_array_foreach (j->kept, i, one) {
		if (kube_kind_of(one)->rank == KUBE_RANK_NAMESPACE)
			is_namespace = true;
		else if (r == 0)
			r = remove_definition(j, one);
	}
	if (r != 0 || !is_namespace)
		return r;
	if (!is_namespace_empty(j)) {
		progress_note(&j->run.progress, "namespace " KUBE_MESH_NAMESPACE
						" stays: others have pods or services in it");
		return 0;
	}
	r = kube_do(j->run.kube, &(struct kube_ask){.method = "DELETE", .path = NAMESPACE}, NULL);
	if (r < 0 && r != -ENOENT)
		return kube_fail(j->run.kube, "namespace " KUBE_MESH_NAMESPACE);
	return gone_wait(j, NAMESPACE, false, "namespace " KUBE_MESH_NAMESPACE);
}

static int purge(struct job *j)
{
	int r = delete_all(j, ROOT_CERTS, "istio-ca-root-cert");

	if (r == 0)
		r = delete_all(j, CLASSES, "istio");
	if (r == 0)
		r = delete_all(j, NAMESPACE "/secrets", "istio-ca-secret");
	if (r == 0)
		r = delete_all(
			j, "/apis/coordination.k8s.io/v1/namespaces/" KUBE_MESH_NAMESPACE "/leases",
			"istio");
	if (r == 0)
		r = remove_kept(j);
	if (r == 0)
		progress_done(&j->run.progress, "Keys, certificates and definitions removed");
	return r;
}

static int work(struct job *j)
{
	int r = remove_rank(j, KUBE_RANK_WEBHOOK);

	if (r == 0)
		r = release(j);
	if (r == 0)
		r = remove_workloads(j);
	for (int rank = KUBE_RANK_SERVICE; rank >= KUBE_RANK_ACCOUNT && r == 0; rank--)
		r = remove_rank(j, (enum kube_rank)rank);
	if (r == 0)
		progress_done(&j->run.progress, "Services, roles and accounts removed");
	if (r == 0)
		r = install_release(&j->run, false);
	if (r == 0 && j->options.is_purge)
		r = purge(j);
	if (r != 0)
		return cli_fail("not complete; the same command goes on from here");
	progress_done(&j->run.progress, "Uninstall complete");
	if (!j->options.is_purge)
		puts("The CA's key and the definitions stay; \"culvert uninstall --purge\" removes "
		     "them, too.");
	return 0;
}

static int check_revision(struct job *j)
{
	char version[64], revision[64];
	_cleanup_(json_decrefp) json_t *spec = NULL;
	int r;

	if (!j->options.choices.revision)
		return 0;
	r = install_read(j->run.kube, &spec, version, revision);
	if (r > 0)
		return r;
	if (r < 0 || !streq(revision, j->options.choices.revision))
		return cli_fail("revision %s is not installed", j->options.choices.revision);
	return 0;
}

static int run(struct job *j)
{
	int r = check_revision(j);

	if (r == 0)
		r = collect(j);
	if (r != 0)
		return r;
	if (json_array_size(j->objects) == 0 &&
	    !(j->options.is_purge && json_array_size(j->kept) > 0)) {
		puts("Nothing of Culvert is installed.");
		return 0;
	}
	if (!is_agreed(j))
		return 1;
	return j->run.is_dry ? 0 : work(j);
}

int cli_uninstall(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert uninstall [--purge] [-y]",
		.help = "Take Culvert out of the cluster. Pods are released first and go on "
			"without the mesh, unrestarted; labels on your namespaces stay as they "
			"are, and block nothing.",
	};
	struct job j = {0};
	int r = cli_parse(&syntax, &j.options, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	j.run.kube = admin_remote_kube();
	if (!j.run.kube)
		return 1;
	j.run.revision = "default";
	install_run_choose(&j.run, &j.options.choices);
	r = run(&j);
	json_decref(j.objects);
	json_decref(j.kept);
	return r;
}
