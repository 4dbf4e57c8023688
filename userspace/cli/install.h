/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* install - what install, upgrade and uninstall share: applying objects, waiting for what they
 * start, removing them. Blocking, one thread. Each says what goes wrong itself. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/option.h"
#include "install_spec.h"
#include "kube.h"
#include "progress.h"
#include "revisions.h"

/* Every object that `culvert` applies has this label; its value is the revision that it belongs to.
 */
#define INSTALL_LABEL "culvert.io/installed"
/* The ConfigMap that says what was asked for, so that an upgrade asks for the same; of a revision
 * with a name: this, "-" and the name. */
#define INSTALL_RECORD "culvert-install"
/* The webhook of objects that name no revision. */
#define INSTALL_DEFAULT_VALIDATOR "istiod-default-validator"
/* The ConfigMap of `culvert tag`. */
#define INSTALL_TAGS "culvert-tags"
/* Label of the mesh's namespace that makes every agent let go of its pods. */
#define INSTALL_RELEASE_LABEL "culvert.io/mesh"
#define INSTALL_RELEASE_VALUE "released"

/** struct install_choices - what all of them may be told. */
struct install_choices {
	const char *revision; /* NULL: not said */
	bool is_yes, is_dry;
	const char *timeout; /* seconds, or with units */
};

/** INSTALL_CHOICES - their rows of an option table. @parent: the struct of the table's offsets,
 * which has a struct install_choices as @member. What each means is for the command to say; the
 * default of --timeout is in seconds. */
#define INSTALL_CHOICES(parent, member, revision_help, dry_help, timeout_default, timeout_help)    \
	{.name = "revision",                                                                       \
	 .short_name = 'r',                                                                        \
	 .type = OPTION_STRING,                                                                    \
	 .offset = offsetof(parent, member.revision),                                              \
	 .value_name = "NAME",                                                                     \
	 .help = (revision_help)},                                                                 \
		{.name = "skip-confirmation",                                                      \
		 .short_name = 'y',                                                                \
		 .type = OPTION_BOOL,                                                              \
		 .offset = offsetof(parent, member.is_yes),                                        \
		 .help = "do not ask"},                                                            \
		{.name = "dry-run",                                                                \
		 .type = OPTION_BOOL,                                                              \
		 .offset = offsetof(parent, member.is_dry),                                        \
		 .help = (dry_help)},                                                              \
	{                                                                                          \
		.name = "timeout", .type = OPTION_STRING,                                          \
		.offset = offsetof(parent, member.timeout), .default_value = (timeout_default),    \
		.value_name = "SECONDS", .help = (timeout_help ", in seconds, or as 5m30s")        \
	}

/** struct install_run - one of them under way. */
struct install_run {
	struct kube *kube; /* borrowed */
	struct progress progress;
	const char *revision; /* "default" when none */
	bool is_dry;
	bool is_forced; /* take fields over from others who manage them */
	uint64_t timeout_us;
	uint64_t poll_us; /* between two looks; 0: a default */
	/* a Service still has the selector of the version before; and: the new pods are ready */
	bool has_late, is_late;
};

/** install_run_choose() - take over what was said; the revision is the caller's. Return: 0; 2, the
 * exit code, said on stderr. */
_must_check_ int install_run_choose(struct install_run *run, const struct install_choices *choices);

/** install_say_missing() - a line for each component that was asked for and is not to be had, for
 * each value that is Istio's and nothing here, and for each key that no MeshConfig has. */
void install_say_missing(const struct install_plan *p, FILE *f);

/** struct install_count - what became of objects. */
struct install_count {
	unsigned int created, changed, unchanged, foreign;
};

/**
 * install_apply() - the objects of ranks @first to @last, in order, by server-side apply; one after
 * the other, since later ones need earlier ones. Definitions and namespaces that others made stay
 * as they are. Transient failures are tried again. Return: 0; 1, said on stderr: which object, and
 * what the API server says.
 */
_must_check_ int install_apply(struct install_run *run, json_t *objects, int first, int last,
			       struct install_count *count);
/** install_apply_late() - once the control plane is ready: what install_apply() left to the version
 * before until then. Return: as install_apply(). */
_must_check_ int install_apply_late(struct install_run *run, json_t *objects,
				    struct install_count *count);
/** install_record() - keep @spec and the version for the next upgrade. Return: 0; 1. */
_must_check_ int install_record(struct install_run *run, const json_t *spec, const char *version);
/** install_prune() - remove what an earlier version of the revision made and @objects do not have,
 * but for what another one of @there has now. @ret: how many. Return: 0; 1. */
_must_check_ int install_prune(struct install_run *run, const json_t *objects,
			       const struct revisions *there, unsigned int *ret);
/** install_labelled() - the objects of the revision, or all of ours that there are, kept kinds too,
 * in the order of making.
 * Kinds that we may not list, or that the server does not have, are left out. @ret: the caller's to
 * drop. Return: 0; 1. */
_must_check_ int install_labelled(struct install_run *run, bool is_all, json_t **ret);
/** install_delete() - one object. Return: 0, also when it was gone; -errno as kube_do(). */
_must_check_ int install_delete(struct install_run *run, const json_t *object);

/** install_release() - tell all agents to let go of their pods, by a label of the mesh's namespace;
 * @is_released false: take that back, if it was said. Return: 0, also without the namespace; 1,
 * said on stderr. */
_must_check_ int install_release(struct install_run *run, bool is_released);

/** install_wait() - until those of @objects that are of this rank run as wanted, a tick for each.
 * Return: 0; 1 when it takes too long: what is not there and why. */
_must_check_ int install_wait(struct install_run *run, const json_t *objects, int rank);
/** install_sleep() - until it is time to look again. */
void install_sleep(const struct install_run *run);
