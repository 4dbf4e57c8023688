/* SPDX-License-Identifier: Apache-2.0 */
/* culvert lab - see lab.h. This file: the commands that change the lab; lab_exec.c has those that
 * look into it. */
#include "lab.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/option.h"
#include "base/str.h"

struct up_options {
	uint64_t nodes;
	bool is_quiet;
};

static const struct option_def up_defs[] = {
	{.name = "nodes",
	 .type = OPTION_U64,
	 .offset = offsetof(struct up_options, nodes),
	 .default_value = "2",
	 .min = 1,
	 .max = LAB_NODES_MAX,
	 .value_name = "N",
	 .help = "nodes of a new lab; a lab that is up keeps its number"},
	{.name = "quiet",
	 .short_name = 'q',
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct up_options, is_quiet),
	 .help = "say nothing but errors"},
	{0},
};

static json_t *find_desired(const struct lab *l, const char *key)
{
	char k[LAB_PATH_MAX];
	json_t *pod;
	size_t i;

	json_array_foreach (l->desired, i, pod)
		if (streq(lab_key(pod, k, sizeof(k)), key))
			return pod;
	return NULL;
}

/* A running pod keeps running when only labels or annotations changed; then its object takes over
 * the new ones. */
static int take_over_metadata(struct lab *l, json_t *running, json_t *desired)
{
	json_t *labels = lab_get(desired, "metadata.labels"), *meta = lab_get(running, "metadata");
	json_t *annotations = json_deep_copy(json_object_get(meta, "annotations"));

	if (!annotations ||
	    json_object_update(annotations, lab_get(desired, "metadata.annotations")) < 0)
		return -ENOMEM;
	json_object_set_new(meta, "annotations", annotations);
	if (labels)
		json_object_set(meta, "labels", labels);
	else
		(void)json_object_del(meta, "labels");
	return lab_pod_save(l, running);
}

static bool is_same_pod(const json_t *running, const json_t *desired)
{
	const char *a = lab_annotation(running, LAB_ANNOTATION_HASH);
	const char *b = lab_annotation(desired, LAB_ANNOTATION_HASH);

	return a && b && streq(a, b);
}

static bool is_alive(const json_t *pod)
{
	const char *pid = lab_annotation(pod, "culvert.io/pid");
	char path[64];

	(void)lab_path(path, sizeof(path), "/proc/%s/root/etc/hosts", pid ? pid : "0");
	return access(path, F_OK) == 0;
}

static int stop_unwanted(struct lab *l, bool is_quiet)
{
	const char *key;
	json_t *pod;
	void *next;

	json_object_foreach_safe (l->pods, next, key, pod) {
		json_t *want = find_desired(l, key);

		if (want && is_same_pod(pod, want) && is_alive(pod))
			continue;
		if (!is_quiet)
			(void)printf("pod %s stopped\n", key);
		lab_pod_stop(l, pod);
	}
	return 0;
}

static int start_one(struct lab *l, json_t *pod, bool is_quiet)
{
	char key[LAB_PATH_MAX];
	json_t *running = json_object_get(l->pods, lab_key(pod, key, sizeof(key)));
	int r;

	if (running)
		return take_over_metadata(l, running, pod);
	r = lab_schedule(l, pod);
	if (r == 0)
		r = lab_pod_start(l, pod);
	if (r == 0 && !is_quiet)
		(void)printf("pod %s running on %s address=%s pid=%s\n", key,
			     lab_str(pod, "spec.nodeName", ""), lab_str(pod, "status.podIP", ""),
			     lab_annotation(pod, "culvert.io/pid"));
	return r;
}

/* Names resolve before the first pod asks; rules know the pods of the moment. */
static int publish(struct lab *l)
{
	int r;

	r = lab_net_services(l);
	if (r == 0)
		r = lab_dns_up(l);
	return r == 0 ? lab_config_write(l) : r;
}

static int apply(struct lab *l, bool is_quiet)
{
	json_t *pod;
	size_t i;
	int r;

	r = lab_assign_services(l);
	if (r == 0)
		r = stop_unwanted(l, is_quiet);
	if (r == 0)
		r = lab_dns_up(l);
	json_array_foreach (l->desired, i, pod)
		if (r == 0)
			r = start_one(l, pod, is_quiet);
	return r == 0 ? publish(l) : r;
}

int lab_up(int argc, char **argv)
{
	static const char usage[] = "culvert lab up [--nodes N] DIR";
	struct up_options o = {0};
	struct lab l = {.lock_fd = -EBADF};
	char err[256];
	int rest, r;

	r = option_parse(up_defs, &o, argc, argv, &rest, err, sizeof(err));
	if (r == -ECANCELED) {
		option_help(up_defs, usage,
			    "Makes nodes and pods on this machine from the Kubernetes manifests in "
			    "DIR. Run again, it\n"
			    "changes what DIR changed and leaves all else running. What it made is "
			    "described, as an API\n"
			    "server would, in " LAB_CONFIG_DIR
			    ": give that folder to `culvert node --config-dir`.");
		return 0;
	}
	if (r < 0 || rest != argc - 1)
		return lab_fail(2, "%s; usage: %s", r < 0 ? err : "one folder is expected", usage);
	r = lab_open(&l);
	if (r == 0 && l.node_count == 0)
		l.node_count = (unsigned int)o.nodes;
	if (r == 0)
		r = lab_load(&l, argv[rest], true);
	if (r == 0)
		r = lab_net_up(&l);
	if (r == 0)
		r = apply(&l, o.is_quiet);
	lab_close(&l);
	return r < 0 ? 1 : 0;
}

/* --- restart, label --- */

/* What the pods of the moment were made from is in config/; objects without running pods come from
 * there too. */
static int open_running(struct lab *l)
{
	int r;

	r = lab_open(l);
	if (r == 0 && l->node_count == 0)
		r = lab_fail(-ENOENT, "no lab is up; start one with `culvert lab up DIR`");
	return r == 0 ? lab_load(l, LAB_CONFIG_DIR, false) : r;
}

int lab_restart(int argc, char **argv)
{
	struct lab l = {.lock_fd = -EBADF};
	json_t *pod;
	int r;

	if (argc != 2 || argv[1][0] == '-')
		return lab_fail(2, "usage: culvert lab restart [NAMESPACE/]POD (a new process and "
				   "network namespace, the same addresses)");
	r = open_running(&l);
	if (r == 0) {
		pod = json_incref(lab_pod_find(&l, argv[1], NULL));
		if (!pod)
			r = lab_fail(-ENOENT, "no pod is called %s", argv[1]);
		else {
			lab_pod_stop(&l, pod);
			r = lab_pod_start(&l, pod);
			if (r == 0)
				r = lab_config_write_object(pod);
			json_decref(pod);
		}
	}
	if (r == 0)
		r = lab_net_services(&l);
	lab_close(&l);
	return r < 0 ? 1 : 0;
}

static json_t *find_object(const struct lab *l, const char *kind, const char *name)
{
	const char *slash = strchr(name, '/'), *base = slash ? slash + 1 : name;
	json_t *body;
	size_t i;

	if (strcasecmp(kind, "pod") == 0)
		return lab_pod_find(l, name, NULL);
	json_array_foreach (l->objects, i, body) {
		const char *ns = lab_str(body, "metadata.namespace", "");

		if (strcasecmp(lab_str(body, "kind", ""), kind) == 0 &&
		    streq(lab_str(body, "metadata.name", ""), base) &&
		    (!slash ||
		     (strlen(ns) == (size_t)(slash - name) && strncmp(ns, name, strlen(ns)) == 0)))
			return body;
	}
	return NULL;
}

static int set_label(json_t *body, const char *change)
{
	json_t *meta = lab_get(body, "metadata"), *labels = json_object_get(meta, "labels");
	const char *equals = strchr(change, '=');
	size_t n = strlen(change);
	char key[320];

	if (!labels) {
		labels = json_object();
		json_object_set_new(meta, "labels", labels);
	}
	if (!equals && (n < 2 || change[n - 1] != '-'))
		return lab_fail(-EINVAL, "%s: expected KEY=VALUE or KEY-", change);
	n = equals ? (size_t)(equals - change) : n - 1;
	if (n >= sizeof(key))
		return -EINVAL;
	memcpy(key, change, n);
	key[n] = '\0';
	if (!equals) {
		(void)json_object_del(labels, key);
		return 0;
	}
	return json_object_set_new(labels, key, json_string(equals + 1)) < 0 ? -ENOMEM : 0;
}

int lab_label(int argc, char **argv)
{
	struct lab l = {.lock_fd = -EBADF};
	json_t *body;
	int r;

	if (argc < 4)
		return lab_fail(2, "usage: culvert lab label namespace|pod|... [NAMESPACE/]NAME "
				   "KEY=VALUE|KEY- ...");
	r = open_running(&l);
	body = r == 0 ? find_object(&l, argv[1], argv[2]) : NULL;
	if (r == 0 && !body)
		r = lab_fail(-ENOENT, "no %s is called %s", argv[1], argv[2]);
	for (int i = 3; i < argc && r == 0; i++)
		r = set_label(body, argv[i]);
	if (r == 0 && strcasecmp(argv[1], "pod") == 0)
		r = lab_pod_save(&l, body);
	if (r == 0)
		r = lab_config_write_object(body);
	lab_close(&l);
	return r < 0 ? 1 : 0;
}

/* --- down --- */

/* Pins and sockets of the lab's own nodes, when a mesh ran on them; its processes were in the lab's
 * cgroup. */
static void remove_mesh(unsigned int nodes)
{
	char path[LAB_PATH_MAX];

	for (unsigned int i = 1; i <= nodes; i++) {
		(void)lab_path(path, sizeof(path), "/sys/fs/bpf/culvert/n%u", i);
		lab_remove_tree(path);
		(void)lab_path(path, sizeof(path), "/run/culvert/n%u", i);
		lab_remove_tree(path);
	}
	(void)rmdir("/sys/fs/bpf/culvert");
	(void)rmdir("/run/culvert");
}

static void remove_namespaces(void)
{
	_cleanup_(closedirp) DIR *d = opendir(LAB_NETNS_DIR);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			lab_netns_delete(e->d_name);
}

int lab_down(int argc, char **argv)
{
	struct lab l = {.lock_fd = -EBADF};
	int r;

	(void)argv;
	if (argc != 1)
		return lab_fail(2, "usage: culvert lab down (stops every pod and removes all that "
				   "`lab up` made)");
	r = lab_open(&l);
	if (r < 0)
		return 1;
	r = lab_cgroup_kill(&l, NULL);
	remove_mesh(LAB_NODES_MAX);
	remove_namespaces();
	lab_remove_tree(LAB_DIR);
	lab_close(&l);
	return r < 0 ? 1 : 0;
}
