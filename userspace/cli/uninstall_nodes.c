/* SPDX-License-Identifier: Apache-2.0 */
#include "uninstall_nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin_remote.h"
#include "base/str.h"
#include "cli.h"
#include "culvert/cni.h"
#include "json.h"
#include "kube_kinds.h"
#include "kube_pods.h"

#define US_PER_S  1000000u
#define RELEASE_S 20 /* after which an agent that says nothing is not waited for */
#define PODS      "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/pods?labelSelector=app%3Dztunnel"
/* The chart's own. */
#define BIN_DIR  "/opt/cni/bin"
#define CONF_DIR "/etc/cni/net.d"

static int set_unheard(struct uninstall_nodes *n, const char *node, const char *why)
{
	return json_object_set_new(n->unheard, node, json_string(why)) < 0
		       ? cli_fail("out of memory")
		       : 0;
}

/* folder_of() - the host's, of the DaemonSet's volume @volume. NULL: it has none. */
static const char *folder_of(const json_t *daemonset, const char *volume)
{
	const json_t *template = json_object_get(json_object_get(daemonset, "spec"), "template");
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(json_object_get(template, "spec"), "volumes"), i, one)
		if (streq(json_text(one, "name", ""), volume))
			return json_text(json_object_get(one, "hostPath"), "path", NULL);
	return NULL;
}

static int look_for_plugin(struct uninstall_nodes *n, const json_t *objects)
{
	const char *bin = BIN_DIR, *conf = CONF_DIR;
	const json_t *one;
	size_t i;

	json_array_foreach (objects, i, one)
		if (kube_kind_of(one)->rank == KUBE_RANK_NODE) {
			bin = folder_of(one, "cni-bin");
			conf = folder_of(one, "cni-conf");
		}
	if (!bin || !conf)
		return 0;
	n->program = str_format("%s/" CNI_PLUGIN_TYPE, bin);
	n->conf = strdup(conf);
	return n->program && n->conf ? 0 : cli_fail("out of memory");
}

static int look_at(struct uninstall_nodes *n, const json_t *node)
{
	const char *ready = kube_condition(node, "Ready", NULL);

	if (!kube_node_is_linux(node) || !*ready || streq(ready, "True"))
		return 0;
	if (json_object_set_new(n->down, kube_name(node), json_true()) < 0)
		return cli_fail("out of memory");
	return set_unheard(n, kube_name(node), "it is not Ready");
}

int uninstall_nodes_look(struct uninstall_nodes *n, struct install_run *run, const json_t *objects)
{
	_cleanup_(json_decrefp) json_t *nodes = NULL;
	const json_t *one;
	size_t i;
	int r;

	n->unheard = json_object();
	n->down = json_object();
	r = look_for_plugin(n, objects);
	if (r != 0)
		return r;
	r = kube_list(run->kube, "/api/v1/nodes", &nodes);
	if (r < 0 && r != -EACCES) /* who may not see them is told of those that do not answer */
		return kube_fail(run->kube, "nodes");
	r = 0;
	json_array_foreach (nodes, i, one)
		r = r == 0 ? look_at(n, one) : r;
	return r;
}

/* pods_left() - how many pods this node's agent still holds; those count whose connections under
 * way get their last seconds. Return: -errno: it does not say. */
static int pods_left(const struct admin_node *node)
{
	_cleanup_(json_decrefp) json_t *status = NULL;
	int r = admin_get_json(node, "agent", "/status", &status);

	return r < 0 ? r
		     : (int)json_array_size(json_object_get(status, "pods")) +
			       (int)json_number(status, "draining");
}

/* node_wait() - until it has let go; what it has not, or does not say, is noted. Return: as
 * pods_left(). */
static int node_wait(struct install_run *run, const struct admin_node *node, uint64_t until_us)
{
	int left;

	while ((left = pods_left(node)) != 0 && now_monotonic_us() < until_us) {
		if (left < 0)
			progress_wait(&run->progress, "node %s: its agent says nothing",
				      node->name);
		else
			progress_wait(&run->progress, "node %s: %d pods are in the mesh",
				      node->name, left);
		install_sleep(run);
	}
	if (left != 0)
		progress_note(&run->progress,
			      "node %s: it cannot be seen whether its pods are released: %s",
			      node->name, left < 0 ? admin_remote_why() : "they are not yet");
	return left;
}

static int nodes_wait(struct uninstall_nodes *n, struct install_run *run,
		      const struct admin_node *nodes, int count)
{
	uint64_t until_us =
		now_monotonic_us() + MIN((uint64_t)RELEASE_S * US_PER_S, run->timeout_us);
	int released = 0;

	for (int i = 0; i < count; i++) {
		/* of two pods the one that stays comes first, and speaks for the node */
		bool is_second = i > 0 && streq(nodes[i].name, nodes[i - 1].name);
		int left;

		if (json_object_get(n->down, nodes[i].name))
			continue;
		left = node_wait(run, &nodes[i], until_us);
		if (left < 0 && !is_second &&
		    set_unheard(n, nodes[i].name, "its agent did not answer") != 0)
			return 1;
		released += left == 0 && !is_second;
	}
	progress_done(&run->progress, "Pods released on %d nodes: they go on without the mesh",
		      released);
	return 0;
}

static bool has(const struct admin_node *nodes, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (streq(nodes[i].name, name))
			return true;
	return false;
}

/* look_for_silent() - the nodes whose agent does not run. */
static int look_for_silent(struct uninstall_nodes *n, struct install_run *run,
			   const struct admin_node *nodes, int count)
{
	_cleanup_(json_decrefp) json_t *pods = NULL;
	int r = kube_list(run->kube, PODS, &pods);
	const json_t *pod;
	size_t i;

	if (r < 0)
		return kube_fail(run->kube, "pods of the mesh");
	json_array_foreach (pods, i, pod) {
		const char *node = json_text(json_object_get(pod, "spec"), "nodeName", "");

		if (r == 0 && *node && !has(nodes, count, node) && !json_object_get(n->down, node))
			r = set_unheard(n, node, "its agent does not run");
	}
	return r;
}

int uninstall_nodes_release(struct uninstall_nodes *n, struct install_run *run)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	int count = nodes ? admin_remote_nodes(NULL, nodes, ADMIN_NODES_MAX) : -1;

	if (count < 0 || look_for_silent(n, run, nodes, count) != 0)
		return 1;
	if (count == 0)
		return 0;
	if (install_release(run, true) != 0)
		return 1;
	return nodes_wait(n, run, nodes, count);
}

size_t uninstall_nodes_left(const struct uninstall_nodes *n, const json_t *pods)
{
	const json_t *pod;
	size_t i, left = 0;

	json_array_foreach (pods, i, pod)
		left += !json_object_get(n->down,
					 json_text(json_object_get(pod, "spec"), "nodeName", ""));
	return left;
}

void uninstall_nodes_tell(const struct uninstall_nodes *n)
{
	const char *name;
	json_t *why;

	if (!n->program || json_object_size(n->unheard) == 0)
		return;
	puts("The CNI plugin may still be on these nodes, where no pod would start then:");
	json_object_foreach (n->unheard, name, why)
		printf("  %s: %s\n", name, json_string_value(why));
	printf("Where it is, root takes it away there; a node that ran on meanwhile is rebooted, "
	       "too:\n"
	       "  %s --remove %s\n",
	       n->program, n->conf);
}

void uninstall_nodes_clear(struct uninstall_nodes *n)
{
	json_decref(n->unheard);
	json_decref(n->down);
	free(n->program);
	free(n->conf);
	*n = (struct uninstall_nodes){0};
}
