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
#include "revisions.h"
#include "source/schema.h"
#include "uninstall_nodes.h"
#include "uninstall_purge.h"

#define NAMESPACE "/api/v1/namespaces/" KUBE_MESH_NAMESPACE

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
	INSTALL_CHOICES(struct uninstall_options, choices,
			"only this revision, where there are several", "say what would be removed",
			"120", "how long to wait for pods of the mesh to end"),
	{0},
};

/** struct job - one uninstallation. */
struct job {
	struct uninstall_options options;
	struct install_run run;
	json_t *objects; /* that are to go, in the order of making; kept kinds are not among them */
	json_t *kept;    /* namespaces and definitions of ours */
	struct revisions revisions;
	char revision[REVISION_MAX]; /* the one that is to go */
	bool is_one;                 /* of several: the mesh stays */
	json_t *going;               /* definitions that the API server was told to delete */
	struct uninstall_nodes nodes;
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

/* look() - @object as it is there, the caller's to drop. Return: 0; -ENOENT; else -errno, said on
 * stderr: what cannot be seen is not taken for absent. */
static int look(struct job *j, const json_t *object, json_t **ret)
{
	_cleanup_(freep) char *path = kube_path_of(object);
	_cleanup_(freep) char *title = kube_title(object);
	int r = path && title ? kube_get(j->run.kube, path, ret) : -ENOMEM;

	if (r == -ENOMEM)
		(void)cli_fail("out of memory");
	else if (r < 0 && r != -ENOENT)
		(void)cli_fail("uninstall: it cannot be seen whether %s is there: %s", title,
			       kube_why(j->run.kube));
	return r;
}

/* is_istios() - Istio's own go by the same names, and are not ours to remove. Return: 1; 0; -errno.
 */
static int is_istios(struct job *j, const json_t *planned)
{
	const json_t *one;
	size_t i;

	json_array_foreach (planned, i, one) {
		_cleanup_(json_decrefp) json_t *there = NULL;
		enum kube_rank rank = kube_kind_of(one)->rank;
		int r;

		if (rank != KUBE_RANK_CONTROL && rank != KUBE_RANK_NODE)
			continue;
		r = look(j, one, &there);
		if (r < 0 && r != -ENOENT)
			return r;
		if (r == 0 && !revision_is_ours(there))
			return 1;
	}
	return 0;
}

/* add_unlabelled() - what kubectl or Helm applied has no label, and there may be kinds that are not
 * to be listed: it is known by its name. Return: 0; 1, said on stderr. */
static int add_unlabelled(struct job *j, const json_t *planned)
{
	int r = is_istios(j, planned);
	const json_t *one;
	size_t i;

	if (r != 0)
		return r < 0;
	json_array_foreach (planned, i, one) {
		_cleanup_(json_decrefp) json_t *there = NULL;

		if (kube_kind_of(one)->is_kept || has(j->objects, one))
			continue;
		r = look(j, one, &there);
		if (r < 0 && r != -ENOENT)
			return 1;
		if (r == 0 && json_array_append(j->objects, there) < 0)
			return cli_fail("out of memory");
	}
	return 0;
}

/* add_planned() - what belongs to a revision by its name. */
static int add_planned(struct job *j, const char *revision)
{
	struct install_words words = {.is_leaving_nodes = j->is_one,
				      .is_leaving_objects = j->is_one};
	_cleanup_(json_decrefp) json_t *planned = NULL;
	char err[CHART_ERROR_MAX] = "out of memory";
	int r = install_words_add_revision(&words, revision);

	if (r < 0)
		return 1;
	r = install_words_objects(&words, &planned, err);
	return r < 0 ? cli_fail("uninstall: %s", err) : add_unlabelled(j, planned);
}

static int collect(struct job *j)
{
	_cleanup_(json_decrefp) json_t *all = NULL;
	int r = install_labelled(&j->run, !j->is_one, &all);
	const char *name;
	json_t *one;
	size_t i;

	if (r != 0)
		return r;
	j->objects = json_array();
	j->kept = json_array();
	j->going = json_array();
	json_array_foreach (all, i, one)
		if (!j->is_one || !revisions_is_left(&j->revisions, j->revision, one))
			(void)json_array_append(kube_kind_of(one)->is_kept ? j->kept : j->objects,
						one);
	if (j->is_one)
		return add_planned(j, j->revision);
	json_object_foreach (j->revisions.all, name, one)
		if (r == 0)
			r = add_planned(j, name);
	return r == 0 ? add_planned(j, REVISION_DEFAULT) : r;
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

/* gone_wait() - until no pod of a list will end any more, or an object is not there. */
static int gone_wait(struct job *j, const char *path, bool is_list, const char *what)
{
	uint64_t until_us = now_monotonic_us() + j->run.timeout_us;

	for (;;) {
		_cleanup_(json_decrefp) json_t *got = NULL;
		int r = is_list ? kube_list(j->run.kube, path, &got)
				: kube_get(j->run.kube, path, &got);

		if (r == -ENOENT ||
		    (r == 0 && is_list && uninstall_nodes_left(&j->nodes, got) == 0))
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

/* A definition takes all objects of its kind with it: one that is in use stays. */
static int remove_definition(struct job *j, const json_t *crd)
{
	size_t used = 0;
	int r = uninstall_count(&j->run, crd, &used);

	if (r < 0 && r != -ENOENT)
		return kube_fail(j->run.kube, kube_name(crd));
	if (r == -ENOENT)
		progress_note(&j->run.progress,
			      "%s stays: it is not served, and what there is of it not to be seen",
			      kube_name(crd));
	else if (used > 0)
		progress_note(&j->run.progress,
			      "%s stays: there are %zu of them, which would go, too",
			      kube_name(crd), used);
	if (r == -ENOENT || used > 0)
		return 0;
	if (install_delete(&j->run, crd) < 0)
		return kube_fail(j->run.kube, kube_name(crd));
	return json_array_append(j->going, (json_t *)(uintptr_t)crd) < 0 ? cli_fail("out of memory")
									 : 0;
}

/* definitions_wait() - the API server takes a definition's objects away first, in its own time: who
 * installs again before would find definitions that are going. */
static int definitions_wait(struct job *j)
{
	const json_t *crd;
	size_t i;
	int r = 0;

	json_array_foreach (j->going, i, crd) {
		_cleanup_(freep) char *path = kube_path_of(crd);

		if (r == 0)
			r = path ? gone_wait(j, path, false, kube_name(crd))
				 : cli_fail("out of memory");
	}
	return r;
}

/* is_namespace_empty() - no pods or services in it, whoever has them? */
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
	bool is_namespace = false, is_istios;
	const json_t *one;
	size_t i;
	int r = uninstall_find_istio(&j->run, &is_istios);

	if (r < 0)
		return kube_fail(j->run.kube, "Istio's own control plane");
	json_array_foreach (j->kept, i, one) {
		if (kube_kind_of(one)->rank == KUBE_RANK_NAMESPACE)
			is_namespace = true;
		else if (r == 0 && !is_istios)
			r = remove_definition(j, one);
	}
	if (is_istios)
		progress_note(&j->run.progress, "definitions stay: Istio's own control plane is "
						"there, which has the same");
	if (r == 0)
		r = definitions_wait(j);
	if (r != 0 || !is_namespace)
		return r;
	if (!is_namespace_empty(j)) {
		progress_note(&j->run.progress, "namespace " KUBE_MESH_NAMESPACE
						" stays: others have pods or services in it, "
						"or the mesh has, on nodes that are not Ready");
		return 0;
	}
	r = uninstall_delete(&j->run, NAMESPACE);
	return r != 0 ? r : gone_wait(j, NAMESPACE, false, "namespace " KUBE_MESH_NAMESPACE);
}

static int purge(struct job *j)
{
	int r = uninstall_purge_made(&j->run);

	if (r == 0)
		r = remove_kept(j);
	if (r == 0)
		progress_done(&j->run.progress, "Keys, certificates and definitions removed");
	return r;
}

static int remove_objects(struct job *j)
{
	int r = uninstall_nodes_look(&j->nodes, &j->run, j->objects);

	if (r == 0)
		r = remove_rank(j, KUBE_RANK_WEBHOOK);
	if (r == 0)
		r = uninstall_nodes_release(&j->nodes, &j->run);
	if (r == 0)
		r = remove_workloads(j);
	for (int rank = KUBE_RANK_SERVICE; rank >= KUBE_RANK_ACCOUNT && r == 0; rank--)
		r = remove_rank(j, (enum kube_rank)rank);
	if (r == 0)
		progress_done(&j->run.progress, "Services, roles and accounts removed");
	return r;
}

/* Where no objects are left, pods that are there are somebody else's, and not waited for. */
static int work(struct job *j)
{
	int r = json_array_size(j->objects) > 0 ? remove_objects(j) : 0;

	if (r == 0)
		r = install_release(&j->run, false);
	if (r == 0 && j->options.is_purge)
		r = purge(j);
	if (r == 0)
		progress_done(&j->run.progress, "Uninstall complete");
	if (r == 0 && !j->options.is_purge)
		puts("The CA's key and the definitions stay; \"culvert uninstall --purge\" removes "
		     "them, too.");
	/* also of one that is broken off: the next no longer has agents to ask */
	uninstall_nodes_tell(&j->nodes);
	return r == 0 ? 0 : cli_fail("not complete; the same command goes on from here");
}

/* One of several: the nodes and what they ask are not touched. */
static int work_one(struct job *j)
{
	_cleanup_(freep) char *pods = str_format(
		NAMESPACE "/pods?labelSelector=app%%3Distiod,istio.io/rev%%3D%s", j->revision);
	_cleanup_(freep) char *lease =
		str_format(UNINSTALL_LEASES "/" UNINSTALL_LEASE "-%s", j->revision);
	int r = pods && lease ? uninstall_nodes_look(&j->nodes, &j->run, NULL)
			      : cli_fail("out of memory");

	if (r == 0)
		r = remove_rank(j, KUBE_RANK_WEBHOOK);
	if (r == 0)
		r = remove_rank(j, KUBE_RANK_CONTROL);
	if (r == 0)
		r = gone_wait(j, pods, true, "its pods");
	if (r == 0)
		progress_done(&j->run.progress, "Control plane of revision %s removed",
			      j->revision);
	for (int rank = KUBE_RANK_SERVICE; rank >= KUBE_RANK_ACCOUNT && r == 0; rank--)
		r = remove_rank(j, (enum kube_rank)rank);
	if (r != 0)
		return cli_fail("not complete; the same command goes on from here");
	r = uninstall_delete(&j->run, lease);
	if (r != 0)
		return r;
	progress_done(&j->run.progress, "Services, roles and accounts removed");
	progress_done(&j->run.progress, "Uninstall complete");
	return 0;
}

/* check_tags() - a name for what is gone would be a lie. */
static int check_tags(struct job *j)
{
	_cleanup_(json_decrefp) json_t *map = NULL;
	int r = kube_get(j->run.kube, NAMESPACE "/configmaps/" INSTALL_TAGS, &map);
	const json_t *revision;
	const char *tag;

	if (r < 0)
		return r == -ENOENT ? 0 : kube_fail(j->run.kube, "tags");
	json_object_foreach (json_object_get(map, "data"), tag, revision)
		if (streq(json_string_value(revision), j->revision))
			return cli_fail("tag %s means revision %s: \"culvert tag set %s --revision "
					"OTHER --overwrite\", or \"culvert tag remove %s\", first",
					tag, j->revision, tag, tag);
	return 0;
}

/* check_shared() - what there is one of must be another revision's before this one goes. */
static int check_shared(struct job *j)
{
	if (streq(j->revisions.nodes, j->revision) || streq(j->revisions.asked, j->revision))
		return cli_fail("the agents and ztunnels of all nodes ask revision %s: \"culvert "
				"upgrade --revision OTHER --set components.ztunnel.enabled=true\" "
				"hands them over first",
				j->revision);
	if (streq(j->revisions.objects, j->revision))
		return cli_fail(
			"revision %s validates objects that name no revision: \"culvert tag "
			"set default --revision OTHER --overwrite\" changes that first",
			j->revision);
	return check_tags(j);
}

/* is_begun() - an installation that did not get far, or a removal that was not finished, has left a
 * part. */
static bool is_begun(struct job *j)
{
	_cleanup_(json_decrefp) json_t *some = NULL;
	const json_t *one;
	size_t i;

	j->run.revision = j->revision;
	if (!word_is_label(j->revision) || install_labelled(&j->run, false, &some) != 0)
		return false;
	json_array_foreach (some, i, one)
		if (!kube_kind_of(one)->is_kept &&
		    !revisions_is_left(&j->revisions, j->revision, one))
			return true;
	return false;
}

/* choose() - what is to go: all, or one of several. Return: 0; 1, said on stderr. */
static int choose(struct job *j)
{
	const char *said = j->options.choices.revision;
	_cleanup_(freep) char *names = NULL;
	int r = revisions_read(j->run.kube, &j->revisions);
	bool is_known = said && revisions_has(&j->revisions, said);

	if (r != 0)
		return r;
	if (said &&
	    (str_copy(j->revision, sizeof(j->revision), said) < 0 || (!is_known && !is_begun(j))))
		return cli_fail("revision %s is not installed", said);
	if (json_object_size(j->revisions.all) + (said && !is_known) < 2)
		return 0;
	names = revisions_names(&j->revisions);
	if (said && j->options.is_purge)
		return cli_fail("there is %s: --purge takes all of them away, and goes without "
				"--revision",
				names ? names : "another");
	if (!said && !j->options.is_purge)
		return cli_fail("there is %s: --revision NAME says which is to go, --purge takes "
				"all away",
				names ? names : "another");
	j->is_one = said != NULL;
	j->run.revision = j->is_one ? j->revision : j->run.revision;
	return j->is_one ? check_shared(j) : 0;
}

/* has_work() - an uninstallation before, or Helm's, has left the keys: --purge is asked for them.
 */
static bool has_work(struct job *j)
{
	if (json_array_size(j->objects) > 0)
		return true;
	return j->options.is_purge &&
	       (json_array_size(j->kept) > 0 || uninstall_purge_is_due(&j->run));
}

static int run(struct job *j)
{
	int r = choose(j);

	if (r == 0)
		r = collect(j);
	if (r != 0)
		return r;
	if (!has_work(j)) {
		puts("Nothing of Culvert is installed.");
		return 0;
	}
	if (!is_agreed(j))
		return 1;
	if (j->run.is_dry)
		return 0;
	return j->is_one ? work_one(j) : work(j);
}

int cli_uninstall(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert uninstall [--revision NAME | --purge] [-y]",
		.help = "Take Culvert out of the cluster. Pods are released first and go on "
			"without the mesh, unrestarted; labels on your namespaces stay as they "
			"are, and block nothing. Of several revisions one goes, and the mesh "
			"stays.",
	};
	struct job j = {0};
	int r = cli_parse(&syntax, &j.options, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (install_run_choose(&j.run, &j.options.choices) != 0)
		return 2;
	j.run.kube = admin_remote_kube();
	if (!j.run.kube)
		return 1;
	j.run.revision = "default";
	r = run(&j);
	json_decref(j.objects);
	json_decref(j.kept);
	revisions_clear(&j.revisions);
	json_decref(j.going);
	uninstall_nodes_clear(&j.nodes);
	return r;
}
