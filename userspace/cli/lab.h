/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* lab - nodes and pods as namespaces on this machine, made from ordinary Kubernetes manifests.
 * Owner: `culvert lab`. One thread, blocking: a command line tool that comes and goes; what it
 * started is found again through LAB_DIR. Names: an object is "namespace/name"; a pod's files and
 * links are named "<namespace>_<name>" (no "_" in RFC 1123). */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/macros.h"

#define LAB_DIR             "/run/culvert-lab"
#define LAB_CONFIG_DIR      LAB_DIR "/config"
#define LAB_NETNS_DIR       LAB_DIR "/netns"
#define LAB_PODS_DIR        LAB_DIR "/pods"
#define LAB_NODES_DIR       LAB_DIR "/nodes"
#define LAB_CGROUP          "culvert-lab"
#define LAB_SWITCH          "switch"
#define LAB_CLUSTER_DOMAIN  "cluster.local"
#define LAB_DNS4            "10.96.0.10"
#define LAB_DNS6            "fd00:10:96::a"
#define LAB_NODES_MAX       16
#define LAB_PATH_MAX        512
#define LAB_POD_FIRST       2 /* last byte of the first pod's address on a node */
#define LAB_POD_LAST        250
#define LAB_SERVICE_FIRST   100 /* 10.96.0.100 is the first address that is handed out */
#define LAB_SERVICE_LAST    60000
#define LAB_ANNOTATION_HASH "lab.culvert.io/template-hash"

/** struct lab - what one invocation works on. All JSON is owned. */
struct lab {
	unsigned int node_count;
	json_t *objects; /* array: every object of DIR except those that run (Pod, Deployment stays)
			  */
	json_t *desired; /* array of Pod objects that DIR asks for, before scheduling */
	json_t *pods;    /* object: "ns/name" -> running Pod object, as kept in LAB_PODS_DIR */
	json_t *services;              /* array of Service objects with their cluster IPs */
	char cgroup_dir[LAB_PATH_MAX]; /* LAB_CGROUP below the cgroup2 mount */
	int lock_fd;
};

/* --- lab_util.c: JSON, processes, files --- */

/** lab_get() - the value at a dotted path ("metadata.name"); keys that hold dots cannot be reached.
 * Borrowed or NULL. */
json_t *lab_get(const json_t *o, const char *path);
/** lab_str() - the string at a dotted path, or @fallback. Borrowed. */
const char *lab_str(const json_t *o, const char *path, const char *fallback);
/** lab_int() - the integer at a dotted path, or @fallback. */
long lab_int(const json_t *o, const char *path, long fallback);
/** lab_annotation() - an annotation's value, or NULL. Borrowed. */
const char *lab_annotation(const json_t *o, const char *key);
/** lab_key() - "namespace/name" of an object into @buf. Return: @buf. */
char *lab_key(const json_t *o, char *buf, size_t size);
/** lab_path() - format a path; one that does not fit becomes "", which no system call takes.
 * Return: @buf. */
char *lab_path(char *buf, size_t size, const char *fmt, ...) _printf_(3, 4);
/** lab_fail() - one line on stderr, "culvert lab: ...". Return: @r. */
int lab_fail(int r, const char *fmt, ...) _printf_(2, 3);
/**
 * lab_run() - run a program and wait for it; its stderr is ours.
 * @netns: name below LAB_NETNS_DIR to run it in, or NULL for this one.
 * @input: text for its stdin, or NULL.
 * Return: 0; -EIO when it failed (told on stderr); -errno.
 */
_must_check_ int lab_run(const char *netns, const char *const *argv, const struct buf *input);
/** lab_netns_enter() - setns(2) this process into a namespace of the lab. Return: 0; -errno. */
_must_check_ int lab_netns_enter(const char *name);
/** lab_netns_create() - a new network namespace, lo up, kept by a bind mount. Return: 0; -errno. */
_must_check_ int lab_netns_create(const char *name);
/** lab_netns_delete() - the reverse; harmless when it is not there. */
void lab_netns_delete(const char *name);
bool lab_netns_exists(const char *name);
/** lab_write_if_changed() - write atomically, and only when the content differs. Return: 1 written;
 * 0 same; -errno. */
_must_check_ int lab_write_if_changed(const char *path, const void *p, size_t n);
/** lab_stdio_to() - stdin from /dev/null, stdout and stderr appended to @path, all other
 * descriptors closed. */
void lab_stdio_to(const char *path);
/** lab_remove_tree() - remove a folder and what is in it, staying on its file system. */
void lab_remove_tree(const char *path);

/* --- lab_state.c: folders, lock, cgroups, what runs --- */

/** lab_open() - check root, find cgroup2, make the folders, take the lock, read what runs. Return:
 * 0; -errno, told. */
_must_check_ int lab_open(struct lab *l);
/** lab_peek() - as lab_open() for readers: no lock, nothing made. Return: 0; -ENOENT no lab is up;
 * -errno, told. */
_must_check_ int lab_peek(struct lab *l);
void lab_close(struct lab *l);
/** lab_cgroup_make() - make a child cgroup of the lab's. Return: 0; -errno. */
_must_check_ int lab_cgroup_make(const struct lab *l, const char *name);
/** lab_cgroup_join() - move the calling process there. Return: 0; -errno. */
_must_check_ int lab_cgroup_join(const struct lab *l, const char *name);
/** lab_cgroup_kill() - kill all below @name (NULL: the lab's whole tree), wait until empty, remove.
 * Return: 0; -errno. */
int lab_cgroup_kill(const struct lab *l, const char *name);
/** lab_pod_save() - keep a running pod's object. Return: 0; -errno. */
_must_check_ int lab_pod_save(struct lab *l, json_t *pod);
/** lab_pod_find() - by "ns/name", "name", or the name of a Deployment of which one pod runs.
 * Borrowed, or NULL. */
json_t *lab_pod_find(const struct lab *l, const char *word, const char *namespace_);

/* --- lab_load.c, lab_expand.c: manifests to pods and services --- */

/** lab_load() - read DIR through the source library into objects, desired and services.
 * @is_strict: any error in it is told and fails; else what is wrong is left out, in silence.
 * Return: 0; -errno, told. */
_must_check_ int lab_load(struct lab *l, const char *dir, bool is_strict);
/** lab_add_object() - sort one object body into the lab: Deployments become pods too. Return: 0;
 * -errno, told. */
_must_check_ int lab_add_object(struct lab *l, json_t *body);
/** lab_assign_services() - give each Service its cluster IPs, keeping those that config/ already
 * says. Return: 0; -errno. */
_must_check_ int lab_assign_services(struct lab *l);
/** lab_schedule() - choose node and addresses for a pod that is to start. Return: 0; -errno, told.
 */
_must_check_ int lab_schedule(struct lab *l, json_t *pod);

/* --- lab_net.c: switch, nodes, links; lab_service.c: cluster IPs, names --- */

/** lab_net_up() - make what is missing of switch and nodes. Return: 0; -errno, told. */
_must_check_ int lab_net_up(struct lab *l);
/** lab_net_pod_up() - a pod's namespace, its link to the node, addresses and routes. Return: 0;
 * -errno, told. */
_must_check_ int lab_net_pod_up(const json_t *pod);
void lab_net_pod_down(const json_t *pod);
/** lab_net_services() - the kube-proxy part: load each node's rules. Return: 0; -errno, told. */
_must_check_ int lab_net_services(struct lab *l);

/** lab_dns_up() - cluster DNS of each node: (re)write its names and start or reload it. Return: 0;
 * -errno, told. */
_must_check_ int lab_dns_up(struct lab *l);

/* --- lab_pod.c, lab_init.c, lab_image.c --- */

/** lab_pod_start() - start a scheduled pod, wait for its ports, save it. Return: 0; -errno, told.
 */
_must_check_ int lab_pod_start(struct lab *l, json_t *pod);
/** lab_pod_stop() - kill it, remove its namespace, files and object. */
void lab_pod_stop(struct lab *l, json_t *pod);
/** lab_pod_file() - a path of the pod's own: "<LAB_PODS_DIR>/<ns>_<name>/<file>". Return: @buf. */
char *lab_pod_file(const json_t *pod, const char *file, char *buf, size_t size);
/** lab_pod_label() - "<ns>_<name>", the name of its namespace file and cgroup. Return: @buf. */
char *lab_pod_label(const json_t *pod, char *buf, size_t size);
/** lab_init_run() - process 1 of a pod: file systems, containers, reaping. Writes "" or a reason to
 * @report_fd. */
_noreturn_ void lab_init_run(const struct lab *l, const json_t *pod, int report_fd);
/** lab_container_caps() - keep only what a container runtime's default leaves, plus
 * securityContext's. Return: 0; -errno. */
_must_check_ int lab_container_caps(const json_t *container);

/** struct lab_image - what stands for a container image here. */
struct lab_image {
	const char *name;        /* last part of the image's name, without tag */
	const char *const *argv; /* its default command; NULL: the manifest must give one */
	int (*prepare)(void);    /* make its files, inside the pod's new root; may be NULL */
};
/** lab_image_find() - for a reference such as "docker.io/library/nginx:1.27-alpine". Never NULL. */
const struct lab_image *lab_image_find(const char *reference);

/* --- lab_config.c --- */

/** lab_yaml_write() - a JSON tree as block YAML. Return: 0; -ENOMEM. */
_must_check_ int lab_yaml_write(struct buf *b, const json_t *j);
/** lab_config_write() - bring LAB_CONFIG_DIR to what the lab holds, touching only files that
 * change. Return: 0; -errno. */
_must_check_ int lab_config_write(struct lab *l);
/** lab_config_write_object() - (re)write the file of one object. Return: 0; -errno, told. */
_must_check_ int lab_config_write_object(const json_t *body);
/** lab_config_path() - the file of an object. Return: @buf. */
char *lab_config_path(const json_t *body, char *buf, size_t size);

/* --- commands --- */

int lab_up(int argc, char **argv);
int lab_down(int argc, char **argv);
int lab_exec(int argc, char **argv);
int lab_status(int argc, char **argv);
int lab_restart(int argc, char **argv);
int lab_label(int argc, char **argv);
/** cli_lab() - `culvert lab ...`; argv[0] is "lab". Return: exit code. */
int cli_lab(int argc, char **argv);
