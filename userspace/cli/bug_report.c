/* SPDX-License-Identifier: Apache-2.0 */
/* bug_report - one archive of what somebody needs who looks for a fault: objects, logs, and what
 * the daemons know. No Secret is ever asked for; what has a secret's name is taken out of the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "admin_remote.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "kube.h"
#include "kube_kinds.h"
#include "progress.h"
#include "redact.h"

#define LOG_BYTES  (4u << 20) /* the last of each container's log */
#define ALL_BYTES  (512u << 20)
#define NAME_BYTES 512

struct report_options {
	const char *out;
	uint64_t nodes;
};

static const struct option_def defs[] = {
	{.name = "output-file",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct report_options, out),
	 .default_value = "culvert-bug-report.tar.gz",
	 .value_name = "FILE",
	 .help = "the archive; one that is there is not overwritten"},
	{.name = "nodes",
	 .type = OPTION_U64,
	 .offset = offsetof(struct report_options, nodes),
	 .default_value = "50",
	 .min = 1,
	 .max = ADMIN_NODES_MAX,
	 .value_name = "N",
	 .help = "of how many nodes at most daemons are asked and logs are taken"},
	{0},
};

/** struct report - one being made. */
struct report {
	char dir[64]; /* a folder of our own, gone at the end */
	size_t bytes;
	struct kube *k;
	struct progress progress;
	FILE *missing; /* what could not be had */
};

static const char *const lists[] = {
	"/version",
	"/api/v1/nodes",
	"/api/v1/namespaces",
	"/api/v1/pods",
	"/api/v1/services",
	"/apis/discovery.k8s.io/v1/endpointslices",
	"/apis/apps/v1/daemonsets",
	"/apis/apps/v1/deployments",
	"/apis/security.istio.io/v1/authorizationpolicies",
	"/apis/security.istio.io/v1/peerauthentications",
	"/apis/networking.istio.io/v1/serviceentries",
	"/apis/networking.istio.io/v1/workloadentries",
	"/apis/networking.istio.io/v1/workloadgroups",
	"/apis/telemetry.istio.io/v1/telemetries",
	"/api/v1/namespaces/istio-system/configmaps",
	"/api/v1/namespaces/istio-system/events",
	"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
	"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
};

static void missing(struct report *p, const char *what, const char *why)
{
	(void)fprintf(p->missing, "%s: %s\n", what, why);
}

/* put() - a file of the archive. "/" in names becomes "_": it has one level. */
static void put(struct report *p, const char *name, const void *data, size_t len)
{
	char path[NAME_BYTES], flat[NAME_BYTES / 2];
	int r;

	if (p->bytes + len > ALL_BYTES) {
		missing(p, name, "the archive would be too large");
		return;
	}
	(void)snprintf(flat, sizeof(flat), "%s", name + (name[0] == '/'));
	for (char *c = flat; *c; c++)
		*c = *c == '/' || *c == '?' ? '_' : *c;
	(void)snprintf(path, sizeof(path), "%s/%s", p->dir, flat);
	r = file_write_atomic(path, data, len, 0600);
	if (r < 0)
		missing(p, name, strerror(-r));
	p->bytes += len;
}

static void put_json(struct report *p, const char *name, json_t *v)
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(freep) char *file = str_format("%s.json", name);

	redact_json(v);
	text = json_dumps(v, JSON_INDENT(1));
	if (text && file)
		put(p, file, text, strlen(text));
}

static void take_list(struct report *p, const char *path)
{
	_cleanup_(json_decrefp) json_t *v = NULL;
	bool is_list = !streq(path, "/version");
	int r = is_list ? kube_list(p->k, path, &v) : kube_get(p->k, path, &v);

	progress_wait(&p->progress, "%s", path);
	if (r < 0)
		missing(p, path, kube_why(p->k));
	else
		put_json(p, path, v);
}

static void take_log(struct report *p, const char *pod, const char *container, bool is_previous)
{
	_cleanup_(buf_resetp) struct buf text = {.limit = LOG_BYTES * 2};
	_cleanup_(freep) char *path = str_format(
		"/api/v1/namespaces/" KUBE_MESH_NAMESPACE
		"/pods/%s/log?container=%s&limitBytes=%u&tailLines=20000&timestamps=true%s",
		pod, container, LOG_BYTES, is_previous ? "&previous=true" : "");
	_cleanup_(freep) char *name =
		str_format("log_%s_%s%s.txt", pod, container, is_previous ? "_previous" : "");
	int r = path && name ? kube_text(p->k, path, &text) : -ENOMEM;

	if (r == 0)
		put(p, name, buf_head(&text), buf_len(&text));
	else if (!is_previous) /* most have none */
		missing(p, name ? name : "log", kube_why(p->k));
}

static void take_part(struct report *p, const struct admin_node *n, const char *part,
		      const char *target)
{
	_cleanup_(freep) char *name = str_format("%s_%s%s", n->name, part, target);
	_cleanup_(json_decrefp) json_t *v = NULL;

	if (admin_get_json(n, part, target, &v) < 0)
		missing(p, name ? name : target, admin_remote_why());
	else if (name)
		put_json(p, name, v);
}

static void take_pods(struct report *p, const struct admin_node *nodes, int count, bool is_control)
{
	for (int i = 0; i < count; i++) {
		const struct admin_node *n = &nodes[i];

		progress_wait(&p->progress, "%s: logs and state (%d of %d)", n->name, i + 1, count);
		if (is_control) {
			take_log(p, n->pod, "discovery", false);
			take_log(p, n->pod, "discovery", true);
			take_part(p, n, "control", "/status");
			continue;
		}
		for (int k = 0; k < 2; k++) {
			take_log(p, n->pod, "agent", k);
			take_log(p, n->pod, "ztunnel", k);
		}
		take_part(p, n, "agent", "/status");
		take_part(p, n, "ztunnel", "/config_dump");
	}
}

static void take_all(struct report *p, uint64_t nodes_max)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		take_list(p, lists[i]);
	if (!nodes)
		return;
	take_pods(p, nodes, admin_remote_control(nodes, ADMIN_NODES_MAX), true);
	take_pods(p, nodes, admin_remote_nodes(NULL, nodes, (size_t)nodes_max), false);
}

static int spawn(const char *const *argv)
{
	int status = 0;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int make(struct report *p, const struct report_options *o)
{
	const char *const tar[] = {"tar", "-czf", o->out, "-C", p->dir, ".", NULL};
	char path[NAME_BYTES];

	(void)snprintf(path, sizeof(path), "%s/MISSING.txt", p->dir);
	p->missing = fopen(path, "we");
	if (!p->missing)
		return -errno;
	(void)fprintf(p->missing, "culvert %s; what could not be had, and why:\n", cli_build());
	take_all(p, o->nodes);
	(void)fclose(p->missing);
	return spawn(tar);
}

/* Secrets are left out, but addresses and names are not: the archive is its maker's alone to read.
 */
static int out_make(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return cli_fail("bug-report: %s: %s%s", path, strerror(errno),
				errno == EEXIST ? "; --output-file names another" : "");
	(void)close(fd);
	return 0;
}

int cli_bug_report(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert bug-report [--output-file FILE] [--nodes N]",
		.help = "Gather what explains a fault into one archive: objects of the cluster, "
			"logs and state of the mesh. Keys, tokens, Secrets and environment "
			"variables are "
			"left out. What cannot be had is named in MISSING.txt.",
	};
	struct report p = {.dir = "/tmp/culvert-bug-report-XXXXXX"};
	const char *const clean[] = {"rm", "-rf", p.dir, NULL};
	struct report_options o = {0};
	int r = cli_parse(&syntax, &o, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	p.k = admin_remote_kube();
	if (!p.k || out_make(o.out) != 0)
		return 1;
	if (!mkdtemp(p.dir))
		return cli_fail("bug-report: %s: %s", p.dir, strerror(errno));
	r = make(&p, &o);
	(void)spawn(clean);
	if (r < 0)
		return cli_fail("bug-report: %s: %s", o.out, strerror(-r));
	progress_done(&p.progress, "Done: %s", o.out);
	return 0;
}
