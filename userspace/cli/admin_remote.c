/* SPDX-License-Identifier: Apache-2.0 */
#include "admin_remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "kube_exec.h"
#include "kube_forward.h"
#include "kube_kinds.h"
#include "kube_pods.h"

#define PODS "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/pods?labelSelector="
/* Istio's: ztunnel's admin, istiod's ControlZ */
#define ZTUNNEL_PORT 15000
#define CONTROL_PORT 9876
#define STATUS_MIN   100
#define STATUS_MAX   999
#define FORWARD_WHY  400

static struct kube *opened;
static json_t *node_pods;    /* asked for once: a tool that comes and goes */
static bool is_out_of_reach; /* which was said: once is enough */
static char why[1024];

const char *admin_remote_why(void)
{
	return why;
}

static void end(void)
{
	opened = kube_close(opened);
	json_decref(node_pods);
	node_pods = NULL;
}

struct kube *admin_remote_kube(void)
{
	if (!opened && kube_open(&opened) == 0)
		(void)atexit(end);
	return opened;
}

static int pods_list(const char *selector, json_t **ret)
{
	_cleanup_(freep) char *path = str_format(PODS "%s", selector);
	struct kube *k = admin_remote_kube();

	if (!k || !path)
		return -1;
	return kube_list(k, path, ret) < 0 ? kube_fail(k, "pods of the mesh"), -1 : 0;
}

/* By name; of a node's two pods the one that stays comes first. */
static int compare(const void *a, const void *b)
{
	const struct admin_node *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : x->is_leaving - y->is_leaving;
}

static bool is_leaving(const json_t *pod)
{
	return json_object_get(json_object_get(pod, "metadata"), "deletionTimestamp");
}

/* nodes_of() - what runs of @pods. @is_by_node: their names are the nodes', else the pods'. */
static int nodes_of(const json_t *pods, const char *node, bool is_by_node, struct admin_node *ret,
		    size_t max)
{
	const json_t *pod;
	size_t i, n = 0;

	json_array_foreach (pods, i, pod) {
		const char *at = json_text(json_object_get(pod, "spec"), "nodeName", "");
		const char *phase = json_text(json_object_get(pod, "status"), "phase", ""), *rev;

		if (!streq(phase, "Running") || (node && !streq(node, at)))
			continue;
		/* one that leaves makes room for one that stays */
		if (n == max && node && ret[n - 1].is_leaving && !is_leaving(pod))
			n--;
		if (n == max)
			continue;
		rev = kube_meta(pod, "labels", "istio.io/rev");
		ret[n].run_dir[0] = '\0';
		ret[n].is_leaving = is_leaving(pod);
		(void)str_copy(ret[n].revision, sizeof(ret[n].revision), rev ? rev : "");
		if (str_copy(ret[n].pod, sizeof(ret[n].pod), kube_name(pod)) == 0 &&
		    str_copy(ret[n].name, sizeof(ret[n].name), is_by_node ? at : kube_name(pod)) ==
			    0)
			n++;
	}
	qsort(ret, n, sizeof(*ret), compare);
	return (int)n;
}

int admin_remote_nodes(const char *node, struct admin_node *ret, size_t max)
{
	if (!node_pods && !is_out_of_reach)
		is_out_of_reach = pods_list("app=ztunnel", &node_pods) < 0;
	return is_out_of_reach ? -1 : nodes_of(node_pods, node, true, ret, max);
}

int admin_remote_none(void)
{
	if (is_out_of_reach)
		return 1;
	if (node_pods && json_array_size(node_pods) == 0)
		return cli_fail("no ztunnel is in namespace " KUBE_MESH_NAMESPACE
				" of the cluster: \"culvert install\" brings the mesh");
	return cli_fail(
		"no such node in the cluster, and none on this machine (nothing in " CLI_RUN_ROOT
		")");
}

int admin_remote_control(struct admin_node *ret, size_t max)
{
	_cleanup_(json_decrefp) json_t *pods = NULL;

	return pods_list("app=istiod", &pods) < 0 ? -1 : nodes_of(pods, NULL, false, ret, max);
}

static const char *container_of_part(const char *part)
{
	return streq(part, "control") ? "discovery" : part;
}

/* port_of_part() - on loopback inside the pod. 0: none: the agent is in the node's network, where
 * others are who may not ask it. */
static uint16_t port_of_part(const char *part)
{
	return streq(part, "ztunnel") ? ZTUNNEL_PORT : streq(part, "control") ? CONTROL_PORT : 0;
}

const char *admin_remote_line(const struct buf *said, char *into, size_t size)
{
	/* nothing ends it with a NUL */
	const char *text = (const char *)buf_head(said);
	size_t n = 0;

	while (n < buf_len(said) && n + 1 < size && text[n] != '\n' && text[n] != '\0')
		n++;
	if (n > 0)
		memcpy(into, text, n);
	into[n] = '\0';
	return into;
}

int admin_remote_run(const struct admin_node *n, const char *part, const char *const *command,
		     struct buf *out)
{
	const struct kube_exec what = {
		.namespace_ = KUBE_MESH_NAMESPACE,
		.pod = n->pod,
		.container = container_of_part(part),
		.command = command,
	};
	struct kube_exec_result result = {0};
	struct kube *k = admin_remote_kube();
	char err[400] = "";
	int r = k ? kube_exec(k, &what, &result, err, sizeof(err)) : -ECONNREFUSED;

	if (r == 0)
		r = result.code;
	if (r > 0)
		(void)admin_remote_line(&result.err, err, sizeof(err));
	if (r == 0 && buf_append(out, buf_head(&result.out), buf_len(&result.out)) < 0)
		r = -ENOMEM;
	(void)snprintf(why, sizeof(why), "pod %s: %s", n->pod, err);
	buf_reset(&result.out);
	buf_reset(&result.err);
	return r;
}

/* The first line is the status. */
static int status_take(struct buf *body)
{
	char line[16] = "";
	size_t n = MIN(buf_len(body), sizeof(line) - 1);
	uint64_t status;
	char *end_of_line;

	if (n > 0)
		memcpy(line, buf_head(body), n);
	end_of_line = strchr(line, '\n');
	if (!end_of_line)
		return -EBADMSG;
	*end_of_line = '\0';
	if (str_parse_u64(line, STATUS_MIN, STATUS_MAX, &status) < 0)
		return -EBADMSG;
	buf_consume(body, (size_t)(end_of_line - line) + 1);
	return (int)status;
}

/* ask_by_exec() - where its port cannot be asked. */
static int ask_by_exec(const struct admin_node *n, const char *part,
		       const struct kube_forward *what, struct buf *body)
{
	const char *const command[] = {ADMIN_REMOTE_PROGRAM, "__admin",    part,
				       what->method,         what->target, NULL};
	int r = admin_remote_run(n, part, command, body);

	if (r == 0)
		return status_take(body);
	return r > 0 ? -ECONNREFUSED : r == -ECONNREFUSED ? -EIO : r;
}

/* is_refused() - exec may do: what else is wrong is wrong with both. */
static bool is_refused(int error)
{
	return error == -EACCES || error == -EBADMSG || error == -EPIPE;
}

/* ask_by_forward() - what may not be done at one pod is not tried at the next. Return: as
 * kube_forward(), with @err. */
static int ask_by_forward(const struct kube_forward *what, struct buf *body, char err[FORWARD_WHY])
{
	static char refusal[FORWARD_WHY];
	struct kube *k = admin_remote_kube();
	int r;

	(void)snprintf(err, FORWARD_WHY, "%s", refusal);
	if (!k || refusal[0])
		return k ? -EACCES : -ECONNREFUSED;
	r = kube_forward(k, what, body, err, FORWARD_WHY);
	if (r == -EACCES)
		(void)snprintf(refusal, sizeof(refusal), "%s", err);
	return r;
}

int admin_remote_request(const struct admin_node *n, const char *part, const char *method,
			 const char *target, struct buf *body)
{
	static bool is_told;
	const struct kube_forward what = {
		.namespace_ = KUBE_MESH_NAMESPACE,
		.pod = n->pod,
		.port = port_of_part(part),
		.method = method,
		.target = target,
	};
	char err[FORWARD_WHY];
	size_t said;
	int r;

	if (what.port == 0)
		return ask_by_exec(n, part, &what, body);
	r = ask_by_forward(&what, body, err);
	if (r > 0)
		return r;
	buf_reset(body);
	if (!is_refused(r)) {
		(void)snprintf(why, sizeof(why), "pod %s: %s", n->pod, err);
		return r == -ECONNREFUSED ? -EIO : r;
	}
	r = ask_by_exec(n, part, &what, body);
	if (r > 0 && !is_told)
		(void)fprintf(stderr, "culvert: pod %s: %s; exec is used instead\n", n->pod, err);
	is_told = is_told || r > 0;
	said = strlen(why);
	if (r < 0)
		(void)snprintf(why + said, sizeof(why) - said, " (%s)", err);
	return r;
}

int cli_admin(int argc, char **argv)
{
	struct admin_node here = {.run_dir = CLI_RUN_ROOT};
	_cleanup_(buf_resetp) struct buf body = {0};
	int r;

	if (argc != 4)
		return 2;
	r = admin_request(&here, argv[1], argv[2], argv[3], &body);
	if (r < 0)
		return cli_fail("%s: %s", argv[1],
				r == -ECONNREFUSED ? "not running"
				: r == -EACCES     ? "not allowed"
						   : "no usable answer");
	printf("%d\n", r);
	return fwrite(buf_head(&body), 1, buf_len(&body), stdout) == buf_len(&body) ? 0 : 1;
}
