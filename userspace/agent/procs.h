/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* procs - which process belongs to which pod of a cluster: the kubelet names each pod's cgroup by
 * the pod's UID, and the agent sees the node's processes (hostPID). Owner: objects. Thread: loop
 * only. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "source/object.h"

#define PROCS_UID_MAX 64

struct procs; /* opaque */

/** procs_new() - @proc: "/proc", or another in tests; borrowed. Return: 0; -ENOMEM. */
_must_check_ int procs_new(const char *proc, struct procs **ret);
struct procs *procs_free(struct procs *p);
DEFINE_CLEANUP(struct procs *, procs_free);

/**
 * procs_find() - the oldest process of a pod: its sandbox's, where that has one and it lives. An
 * other one may be in a namespace of its own.
 * @uid: of procs_uid_of_pod(). @now_us: all processes are looked at anew at most every 100 ms.
 * Return: its number in our PID namespace; 0 when there is none (yet).
 */
pid_t procs_find(struct procs *p, const char *uid, uint64_t now_us);

/** procs_any() - @fn for the pod's processes, in no order, until it says yes: did it? Those of the
 * last 100 ms may be missing. @uid, @now_us: as procs_find(). */
bool procs_any(struct procs *p, const char *uid, uint64_t now_us, bool (*fn)(void *arg, pid_t pid),
	       void *arg);

/** procs_uid_of_pod() - by which UID the kubelet names the pod's cgroup: its own, or of a static
 * pod, whose object is but a mirror with a UID of its own, the hash of its manifest. Return:
 * borrowed of @pod; NULL: it has none. */
const char *procs_uid_of_pod(const struct object *pod);

/** procs_uid_of_cgroup() - the pod's UID in the text of /proc/PID/cgroup: "/kubepods/.../pod<UID>/"
 * as the cgroupfs driver writes it, or "-pod<UID with _>.slice" as systemd's. Return: 0; -ENOENT no
 * pod's. */
_must_check_ int procs_uid_of_cgroup(const char *text, char ret[PROCS_UID_MAX]);
