/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* earlier - plaintext connections into a pod that are older than its being in the mesh: they go to
 * the application, and stay as they are until a policy refuses plaintext from anyone; and what an
 * annotation had let in that is gone. Once captured a pod gets no others, so one that has none, and
 * no such annotation, is looked at no more. Owner: direct. Thread: loop only. */
#include <stdbool.h>

#include "base/cleanup.h"
#include "culvert/abi/maps.h"
#include "datapath.h"
#include "netns.h"

struct earlier; /* opaque */
struct pods;

struct earlier_config {
	struct datapath *datapath; /* borrowed, like all here */
	const struct netns_home *home;
	const struct pods *pods;
	bool is_host_vouched; /* what the node's own processes open is left alone */
};

/** earlier_fn - one connection, as the pod sees it, with the pod's cookie. */
typedef void earlier_fn(void *arg, const struct cv_tuple *t);

/** earlier_new() - nothing is known yet. Return: 0; -ENOMEM. */
_must_check_ int earlier_new(const struct earlier_config *config, struct earlier **ret);
/** earlier_free() - takes NULL. Return: NULL. */
struct earlier *earlier_free(struct earlier *e);
DEFINE_CLEANUP(struct earlier *, earlier_free);

/** earlier_walk() - @fn for each of them, of every captured pod. */
void earlier_walk(struct earlier *e, earlier_fn *fn, void *arg);
