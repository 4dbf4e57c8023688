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
#include "kube_pods.h"
#include "progress.h"
#include "redact.h"
#include "redact_pairs.h"
#include "source/schema.h"

#define LOG_BYTES     (4u << 20) /* the last of each container's log */
#define ALL_BYTES     (512u << 20)
#define COMMAND_BYTES (64u << 20)
#define NAME_BYTES    512
#define FOLDER        "culvert-bug-report" /* all that is in the archive is below it */

struct report_options {
	const char *out;
	uint64_t nodes;
};

static const struct option_def defs[] = {
	{.name = "output-file",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct report_options, out),
	 .value_name = "FILE",
	 .help = "the archive (default: " FOLDER
		 "-TIME.tar.gz); one that is there is not overwritten"},
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
	char top[64], dir[96]; /* a folder of our own, gone at the end, and FOLDER in it */
	size_t bytes, missing_count;
	struct kube *k;
	struct progress progress;
	FILE *missing; /* what could not be had */
};

static const char *const lists[] = {
	"/version",
	"/apis", /* which kinds of others there are, in which versions */
	"/api/v1/nodes",
	"/api/v1/namespaces",
	"/api/v1/pods",
	"/api/v1/services",
	"/apis/discovery.k8s.io/v1/endpointslices",
	"/apis/apps/v1/daemonsets",
	"/apis/apps/v1/deployments",
	"/api/v1/namespaces/istio-system/configmaps",
	"/apis/networking.k8s.io/v1/networkpolicies",
	"/apis/coordination.k8s.io/v1/namespaces/istio-system/leases",
	"/api/v1/namespaces/istio-system/resourcequotas",
	"/api/v1/namespaces/istio-system/events",
	"/api/v1/events?fieldSelector=source%3Dculvert-agent",
	"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
	"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
};

/* Those of Istio's that are read, in whichever version the cluster has them. */
static const struct {
	const char *kind, *plural;
} kinds[] = {
	{"AuthorizationPolicy", "authorizationpolicies"},
	{"PeerAuthentication", "peerauthentications"},
	{"ServiceEntry", "serviceentries"},
	{"WorkloadEntry", "workloadentries"},
	{"WorkloadGroup", "workloadgroups"},
	{"Telemetry", "telemetries"},
};

static void missing(struct report *p, const char *what, const char *why)
{
	p->missing_count++;
	(void)fprintf(p->missing, "%s: %s\n", what, why);
}

/* put() - a file of the archive. "/" in names becomes "_": it has one level. */
static void put(struct report *p, const char *name, void *data, size_t len)
{
	char path[NAME_BYTES], flat[NAME_BYTES / 2];
	int r;

	if (p->bytes + len > ALL_BYTES) {
		missing(p, name, "the archive would be too large");
		return;
	}
	(void)snprintf(flat, sizeof(flat), "%s", name + (name[0] == '/'));
	for (char *c = flat; *c; c++)
		*c = strchr("/?%", *c) ? '_' : *c;
	(void)snprintf(path, sizeof(path), "%s/%s", p->dir, flat);
	redact_text(data, len);
	r = file_write_atomic(path, data, len, 0600);
	if (r < 0)
		missing(p, name, strerror(-r));
	p->bytes += len;
}

/* put_text() - likewise what is no JSON: a log, a table. */
static void put_text(struct report *p, const char *name, const void *data, size_t len)
{
	_cleanup_(freep) char *text = malloc(len + 1);
	_cleanup_(freep) char *without = NULL;

	if (!text) {
		missing(p, name, strerror(ENOMEM));
		return;
	}
	memcpy(text, data, len);
	text[len] = '\0';
	for (char *c = memchr(text, '\0', len); c; c = memchr(c, '\0', len - (size_t)(c - text)))
		*c = ' '; /* what is behind it is to be looked through, too */
	without = redact_pairs(text);
	put(p, name, without ? without : text, strlen(without ? without : text));
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

static void put_answer(struct report *p, const char *path, int r, json_t *v)
{
	if (r < 0)
		missing(p, path, kube_why(p->k));
	else
		put_json(p, path, v);
}

static void take_list(struct report *p, const char *path)
{
	_cleanup_(json_decrefp) json_t *v = NULL;
	bool is_list = !streq(path, "/version") && !streq(path, "/apis");
	int r;

	progress_wait(&p->progress, "%s", path);
	r = is_list ? kube_list(p->k, path, &v) : kube_get(p->k, path, &v);
	put_answer(p, path, r, v);
}

static void take_kind(struct report *p, const char *kind, const char *plural)
{
	const char *const *versions = schema_kind_find(kind)->api_versions;
	_cleanup_(freep) char *path = str_format("/apis/%s/%s", versions[0], plural);
	_cleanup_(json_decrefp) json_t *v = NULL;

	progress_wait(&p->progress, "%s", plural);
	if (path)
		put_answer(p, path, kube_list_served(p->k, versions, NULL, plural, &v), v);
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
		put_text(p, name, buf_head(&text), buf_len(&text));
	else
		missing(p, name ? name : "log", kube_why(p->k));
}

/* take_logs() - of one pod of the mesh, whatever has become of it: what a container says that does
 * not start is what the report is made for. */
static void take_logs(struct report *p, const json_t *pod)
{
	const json_t *status = json_object_get(pod, "status"), *one;
	char why[KUBE_WHY_MAX];
	size_t i;

	if (*kube_pod_why(pod, why))
		missing(p, kube_name(pod), why);
	json_array_foreach (json_object_get(status, "containerStatuses"), i, one) {
		const char *container = json_text(one, "name", "");
		bool is_again = json_number(one, "restartCount") > 0;

		if (is_again || !json_object_get(json_object_get(one, "state"), "waiting"))
			take_log(p, kube_name(pod), container, false);
		if (is_again)
			take_log(p, kube_name(pod), container, true);
	}
}

static void take_all_logs(struct report *p, const char *app, size_t max)
{
	_cleanup_(freep) char *path = str_format(
		"/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/pods?labelSelector=app=%s", app);
	_cleanup_(json_decrefp) json_t *pods = NULL;
	const json_t *pod;
	size_t i;

	if (!path || kube_list(p->k, path, &pods) < 0) {
		missing(p, app, kube_why(p->k));
		return;
	}
	json_array_foreach (pods, i, pod) {
		if (i == max) {
			missing(p, app, "there are more pods than --nodes: their logs stay out");
			return;
		}
		progress_wait(&p->progress, "logs of %s (%zu of %zu)", kube_name(pod), i + 1,
			      json_array_size(pods));
		take_logs(p, pod);
	}
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

/* take_maps() - what is pinned in the node's kernel. */
static void take_maps(struct report *p, const struct admin_node *n)
{
	static const char *const command[] = {ADMIN_REMOTE_PROGRAM, "bpf", "maps", NULL};
	_cleanup_(freep) char *name = str_format("%s_bpf_maps.txt", n->name);
	_cleanup_(buf_resetp) struct buf text = {0};

	if (!name)
		return;
	if (admin_remote_run(n, "agent", command, &text) != 0)
		missing(p, name, admin_remote_why());
	else
		put_text(p, name, buf_head(&text), buf_len(&text));
}

static void take_state(struct report *p, const struct admin_node *n)
{
	take_part(p, n, "agent", "/status");
	take_part(p, n, "agent", "/past");
	take_part(p, n, "ztunnel", "/config_dump");
	take_part(p, n, "ztunnel", "/connections");
	take_part(p, n, "ztunnel", "/connections/ended");
	take_maps(p, n);
}

static void take_daemons(struct report *p, size_t nodes_max)
{
	_cleanup_(freep) struct admin_node *nodes = calloc(ADMIN_NODES_MAX, sizeof(*nodes));
	int n = nodes ? admin_remote_control(nodes, ADMIN_NODES_MAX) : 0;

	for (int i = 0; i < n; i++)
		take_part(p, &nodes[i], "control", "/status");
	n = nodes ? admin_remote_nodes(NULL, nodes, nodes_max) : 0;
	for (int i = 0; i < n; i++) {
		progress_wait(&p->progress, "state of node %s (%d of %d)", nodes[i].name, i + 1, n);
		take_state(p, &nodes[i]);
	}
}

/* spawn() - a program to its end. @out: a file for what it prints; NULL: ours. */
static int spawn(const char *const *argv, const char *out)
{
	int status = 0;
	pid_t pid;

	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int fd = out ? open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

		if (out && (fd < 0 || dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0))
			_exit(127);
		(void)execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* take_command() - what one says, as all else without what is secret. @said: a file for it
 * meanwhile. */
static void take_command(struct report *p, const char *const *argv, const char *said)
{
	_cleanup_(freep) char *name = str_format("culvert_%s.txt", argv[1]);
	_cleanup_(freep) char *text = NULL;
	size_t len;
	int r;

	(void)spawn(argv, said);
	r = name ? file_read(said, COMMAND_BYTES, &text, &len) : -ENOMEM;
	if (r < 0)
		missing(p, argv[1], strerror(-r));
	else
		put_text(p, name, text, len);
}

/* take_commands() - what somebody who looks for a fault would ask first. Their exit codes say what
 * they found; what they say is kept either way. */
static void take_commands(struct report *p)
{
	static const struct {
		const char *name, *argument;
	} commands[] = {
		{"version", NULL}, {"precheck", NULL}, {"analyze", "-A"}, {"proxy-status", NULL}};
	char path[NAME_BYTES];

	(void)snprintf(path, sizeof(path), "%s/said", p->top);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const char *argv[KUBE_WORDS_MAX + 4] = {"/proc/self/exe", commands[i].name};
		size_t n = 2 + kube_words_put(argv + 2);

		argv[n] = commands[i].argument;
		progress_wait(&p->progress, "culvert %s", commands[i].name);
		take_command(p, argv, path);
	}
}

static int make(struct report *p, const struct report_options *o)
{
	const char *const tar[] = {"tar", "-czf", o->out, "-C", p->top, FOLDER, NULL};
	char path[NAME_BYTES];

	(void)snprintf(path, sizeof(path), "%s/MISSING.txt", p->dir);
	p->missing = mkdir(p->dir, 0700) == 0 ? fopen(path, "we") : NULL;
	if (!p->missing)
		return -errno;
	(void)fprintf(p->missing, "culvert %s; what could not be had, and why:\n", cli_build());
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		take_list(p, lists[i]);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		take_kind(p, kinds[i].kind, kinds[i].plural);
	take_commands(p);
	take_all_logs(p, "istiod", ADMIN_NODES_MAX);
	take_all_logs(p, "ztunnel", (size_t)o->nodes);
	take_daemons(p, (size_t)o->nodes);
	(void)fclose(p->missing);
	return spawn(tar, NULL);
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

/* say_done() - what there is, and what there is not. */
static void say_done(struct report *p, const char *out)
{
	struct stat st = {0};

	(void)stat(out, &st);
	progress_done(&p->progress, "Done: %s, %lld KiB", out,
		      (long long)(st.st_size + 1023) / 1024);
	if (p->missing_count > 0)
		progress_note(
			&p->progress,
			"%zu things could not be had or are not as they should be: MISSING.txt "
			"in it names them",
			p->missing_count);
}

int cli_bug_report(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert bug-report [--output-file FILE] [--nodes N]",
		.help = "Gather what explains a fault into one archive: objects of the cluster, "
			"logs and state of the mesh. Keys, tokens, passwords by their names, "
			"Secrets, environment variables and the commands of applications are left "
			"out. What cannot be had is named in MISSING.txt.",
	};
	struct report p = {.top = "/tmp/" FOLDER "-XXXXXX"};
	const char *const clean[] = {"rm", "-rf", p.top, NULL};
	struct report_options o = {0};
	time_t now = time(NULL);
	struct tm tm;
	char name[64];
	int r = cli_parse(&syntax, &o, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (!o.out) {
		(void)strftime(name, sizeof(name), FOLDER "-%Y%m%dT%H%M%SZ.tar.gz",
			       gmtime_r(&now, &tm));
		o.out = name;
	}
	p.k = admin_remote_kube();
	if (!p.k || out_make(o.out) != 0)
		return 1;
	if (!mkdtemp(p.top)) {
		(void)unlink(o.out);
		return cli_fail("bug-report: %s: %s", p.top, strerror(errno));
	}
	(void)snprintf(p.dir, sizeof(p.dir), "%s/" FOLDER, p.top);
	r = make(&p, &o);
	(void)spawn(clean, NULL);
	if (r < 0) {
		(void)unlink(o.out);
		return cli_fail("bug-report: %s: %s", o.out, strerror(-r));
	}
	say_done(&p, o.out);
	return 0;
}
