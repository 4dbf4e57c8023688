/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* podspec - what the agent needs to know of a Pod object. Immutable copy; owner: its creator. */
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"
#include "model/exclude.h"
#include "source/object.h"

#define POD_MAX_IPS 8

struct podspec {
	char *namespace_;
	char *name;
	char *key; /* "namespace/name" */
	char *service_account;
	char *netns;       /* path of the namespace */
	char *resolv_conf; /* path, NULL: none known */
	struct cv_addr ips[POD_MAX_IPS];
	size_t ip_count;
	uint32_t incarnation; /* pod_incarnation() */
	bool is_encrypt;      /* its namespace demands a tunnel on this node too; set by objects */
	bool has_dns;         /* port 53 is captured */
	bool is_unstarted;    /* none of its processes runs yet */
	struct exclusions exclusions; /* set by podspec_exclude() */
};

/**
 * podspec_new() - read a Pod
 * @pod: borrowed.
 * @pid: a process of it; 0: the pod's annotations say, as in a folder of manifests. A cluster's
 * pods must not: their owners could name the namespace of another.
 * @err: a sentence that names the field, on -EINVAL.
 * Return: 0; -EINVAL a field is missing or wrong; -ENOMEM.
 */
_must_check_ int podspec_new(const struct object *pod, pid_t pid, struct podspec **ret, char *err,
			     size_t err_size);
/**
 * podspec_new_sandbox() - the same while the pod has a namespace, but no process yet
 * @netns_fd: of the namespace; borrowed, must outlive the podspec's use. Addresses are the
 * namespace's, not those that the object may still have of an earlier one.
 * Return: 0; -ENOMEM.
 */
_must_check_ int podspec_new_sandbox(const struct object *pod, int netns_fd, struct podspec **ret);
/** podspec_exclude() - take over what the annotations exclude; @x is the podspec's from now on. */
void podspec_exclude(struct podspec *s, struct exclusions *x);
/** podspec_follow() - the process that @s was known by has ended: @netns is its namespace's path
 * now. Return: 0; -ENOMEM, nothing has changed. */
_must_check_ int podspec_follow(struct podspec *s, const char *netns);
/** podspec_free() - takes NULL. Return: NULL. */
struct podspec *podspec_free(struct podspec *s);
DEFINE_CLEANUP(struct podspec *, podspec_free);

/** podspec_is_same() - nothing that the data path depends on differs, but perhaps exclusions. */
bool podspec_is_same(const struct podspec *a, const struct podspec *b);
