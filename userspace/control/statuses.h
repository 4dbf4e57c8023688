/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* statuses - the leader writes into the status of each of Istio's resources whether it is in force,
 * what of it is not honoured, and whether there is anything that it is about. Only what differs is
 * written, twenty a second at most; where somebody else writes the same again and again, it is left
 * to them after five writes, but for one a minute. Owner: cluster. Thread: its loop. */
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "source/kube_client.h"
#include "source/object.h"
#include "source/source.h"

struct statuses; /* opaque */

struct statuses_config {
	struct loop *loop;        /* borrowed */
	struct kube_client *kube; /* borrowed */
	uint64_t pause_us;        /* between two looks at all of them; 0: a second */
	/* what others write, too, is left to them so long, and at most what is refused again and
	 * again; 0: a minute */
	uint64_t leave_us;
	/** for_each_problem() - call @fn for everything that is wrong now. */
	void (*for_each_problem)(void *arg,
				 void (*fn)(void *fn_arg, const struct source_error *err),
				 void *fn_arg);
	/** is_selected() - is the namespace one of the mesh's? */
	bool (*is_selected)(void *arg, const char *namespace_);
	/** has_workloads() - is there a pod of the mesh that these labels are meant for? */
	bool (*has_workloads)(void *arg, const char *namespace_, const json_t *labels);
	void *arg;
};

_must_check_ int statuses_new(const struct statuses_config *config, struct statuses **ret);
struct statuses *statuses_free(struct statuses *s);
DEFINE_CLEANUP(struct statuses *, statuses_free);

/** statuses_lead() - write from now on, or leave it to another. Return: 0; -ENOMEM. */
int statuses_lead(struct statuses *s, bool is_leader);
/** statuses_put(), statuses_delete() - an object of any kind. */
void statuses_put(struct statuses *s, struct object *obj);
void statuses_delete(struct statuses *s, const struct object *obj);
/** statuses_changed() - for_each_problem() or has_workloads() may say otherwise now. Cheap. */
void statuses_changed(struct statuses *s);
/** statuses_count() - written so far. */
size_t statuses_count(const struct statuses *s);
