/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* objects_private - what the objects*.c files share. Nobody else includes it. */
#include "base/map.h"
#include "objects.h"
#include "procs.h"
#include "source/kube_client.h"

/* A Pod of this node, and what is wrong with it. */
struct known_pod {
	struct object *object;
	bool is_wanted;    /* its labels ask for the mesh */
	bool is_enrolled;  /* on_pod() was the last call */
	bool is_waiting;   /* for a process */
	uint64_t again_us; /* when it is looked for again */
	uint64_t wait_us;  /* after how long; 0: something has been heard of the pod since */
	int sandbox_fd;    /* its namespace, until a process of it is known; -EBADF */
	char *sandbox;   /* container ID of its last sandbox; NULL: it was made before this agent */
	char error[512]; /* "" when fine */
	json_t *notes;   /* what is wrong with its annotations: [line, is it a warning?] pairs */
	json_t *old_notes; /* of the last decision: what is in them has been logged */
};

struct objects {
	struct objects_config config;
	char *node;
	struct source *source;
	struct kube_client *kube; /* NULL with a folder */
	struct procs *procs;      /* NULL with a folder: its pods name their processes */
	struct loop_timer again;  /* pods whose processes were not there yet */
	struct map *pods;         /* "namespace/name" -> struct known_pod */
	struct map *left;         /* key of one that has left -> struct known_pod */
	struct map *namespaces;   /* name -> struct object */
	struct json_pool *labels; /* of other nodes' pods */
	/* of Pods, of Namespaces: what keeps them from being listed and watched; "" when nothing
	 * does */
	struct {
		char file[128], line[1024];
	} troubles[2];
	bool is_released; /* the mesh is being uninstalled: no pod is in it */
	bool is_leaving;  /* for us it is, whatever is said */
	bool is_ending;   /* its namespace is being deleted */
};

/** known_pod_free() - takes NULL. Return: NULL. */
struct known_pod *known_pod_free(struct known_pod *k);
/** objects_leave() - the object of a pod that is in the mesh has gone. @k is taken. */
void objects_leave(struct objects *o, const char *key, struct known_pod *k);
/** objects_left_decide() - release those that have left, if the labels of the moment say so.
 * @name: as namespace_decide(). */
void objects_left_decide(struct objects *o, const char *name);
/** objects_decide() - enrol, or release, as the labels of the moment say. A pod that cannot be
 * understood stays as it is. */
void objects_decide(struct objects *o, const char *key, struct known_pod *k);
