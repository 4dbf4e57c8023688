/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/option.h"
#include "base/str.h"

struct exec_options {
	const char *namespace_;
	bool is_node, is_privileged;
};

static const struct option_def exec_defs[] = {
	{.name = "namespace",
	 .short_name = 'n',
	 .type = OPTION_STRING,
	 .offset = offsetof(struct exec_options, namespace_),
	 .value_name = "NAME",
	 .help = "of the pod; \"NAMESPACE/POD\" says the same"},
	{.name = "node",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct exec_options, is_node),
	 .help = "the name is a node (or \"switch\"): run in its network namespace, with the "
		 "host's files"},
	{.name = "privileged",
	 .type = OPTION_BOOL,
	 .offset = offsetof(struct exec_options, is_privileged),
	 .help = "keep all capabilities; else those of the pod's first container"},
	{0},
};

static int exec_in_node(const struct lab *l, const char *node, char **argv)
{
	int r;

	r = lab_cgroup_make(l, node);
	if (r == 0)
		r = lab_cgroup_join(l, node);
	if (r == 0)
		r = lab_netns_enter(node);
	if (r < 0)
		return lab_fail(1, "cannot enter node %s: %s", node, strerror(-r));
	(void)execvp(argv[0], argv);
	return lab_fail(127, "cannot run %s: %s", argv[0], strerror(errno));
}

static int forward(pid_t pid)
{
	int status;

	(void)signal(SIGINT, SIG_IGN);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int enter_pod(const struct lab *l, const json_t *pod)
{
	const char *pid_text = lab_annotation(pod, "culvert.io/pid");
	_cleanup_(close_fdp) int pidfd = -EBADF;
	char label[LAB_PATH_MAX];
	uint64_t pid;
	int r;

	r = str_parse_u64(pid_text ? pid_text : "", 2, INT32_MAX, &pid);
	if (r < 0)
		return r;
	pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (pidfd < 0)
		return -errno;
	r = lab_cgroup_join(l, lab_pod_label(pod, label, sizeof(label)));
	if (r < 0)
		return r;
	return setns(pidfd,
		     CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC) < 0
		       ? -errno
		       : 0;
}

static _noreturn_ void exec_child(const json_t *pod, bool is_privileged, char **argv)
{
	int r = 0;

	/* `lab exec` that is killed must not leave its command behind. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!is_privileged)
		r = lab_container_caps(json_array_get(lab_get(pod, "spec.containers"), 0));
	(void)setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	(void)setenv("HOME", "/root", 1);
	if (r == 0)
		(void)execvp(argv[0], argv);
	lab_fail(-errno, "cannot run %s: %s", argv[0], strerror(errno));
	_exit(127);
}

/* A process that has gone half into the pod's namespaces is good for nothing but waiting. */
static _noreturn_ void enter_child(const struct lab *l, const json_t *pod, bool is_privileged,
				   char **argv)
{
	char key[LAB_PATH_MAX];
	pid_t pid;
	int r;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = enter_pod(l, pod);
	if (r < 0)
		_exit(lab_fail(1, "cannot enter pod %s: %s", lab_key(pod, key, sizeof(key)),
			       strerror(-r)));
	/* The process-id namespace holds for children only. */
	pid = fork();
	if (pid < 0)
		_exit(lab_fail(1, "fork: %s", strerror(errno)));
	if (pid == 0)
		exec_child(pod, is_privileged, argv);
	_exit(forward(pid));
}

static int exec_in_pod(const struct lab *l, const struct exec_options *o, const char *word,
		       char **argv)
{
	const json_t *pod = lab_pod_find(l, word, o->namespace_);
	pid_t pid;

	if (!pod)
		return lab_fail(1, "no pod is called %s; `culvert lab status` lists them", word);
	pid = fork();
	if (pid < 0)
		return lab_fail(1, "fork: %s", strerror(errno));
	if (pid == 0)
		enter_child(l, pod, o->is_privileged, argv);
	return forward(pid);
}

/* peek() - lab_peek() for a command. Return: 0; 1, told. */
static int peek(struct lab *l)
{
	int r = lab_peek(l);

	if (r == -ENOENT)
		return lab_fail(1, "no lab is up; start one with `culvert lab up DIR`");
	return r < 0;
}

int lab_exec(int argc, char **argv)
{
	static const char usage[] =
		"culvert lab exec [-n NAMESPACE] [--privileged] POD|DEPLOYMENT [--] COMMAND...\n"
		"       culvert lab exec --node NODE [--] COMMAND...";
	struct exec_options o = {0};
	struct lab l;
	char err[256];
	const char *word;
	int rest, r;

	r = option_parse(exec_defs, &o, argc, argv, &rest, err, sizeof(err));
	if (r == -ECANCELED) {
		option_help(exec_defs, usage, "Runs a command inside a pod, or on a node.");
		return 0;
	}
	if (r < 0 || rest > argc - 2)
		return lab_fail(2, "%s; usage: %s",
				r < 0 ? err : "a name and a command are expected", usage);
	word = argv[rest++];
	if (streq(argv[rest], "--") && rest < argc - 1)
		rest++;
	if (peek(&l) != 0)
		return 1;
	r = o.is_node ? exec_in_node(&l, word, argv + rest)
		      : exec_in_pod(&l, &o, word, argv + rest);
	lab_close(&l);
	return r;
}

/* --- status --- */

static void print_pod(const char *key, const json_t *pod)
{
	const char *ip6 = lab_str(json_array_get(lab_get(pod, "status.podIPs"), 1), "ip", "-");

	(void)printf("%-44s %-5s %-14s %-22s %s\n", key, lab_str(pod, "spec.nodeName", ""),
		     lab_str(pod, "status.podIP", ""), ip6, lab_annotation(pod, "culvert.io/pid"));
}

int lab_status(int argc, char **argv)
{
	bool is_json = argc == 3 && streq(argv[1], "-o") && streq(argv[2], "json");
	struct lab l;
	const char *key;
	json_t *pod;

	if (argc != 1 && !is_json)
		return lab_fail(2, "usage: culvert lab status [-o json]");
	if (peek(&l) != 0)
		return 1;
	if (is_json) {
		(void)json_dumpf(l.pods, stdout, JSON_INDENT(2));
		(void)putchar('\n');
	} else {
		(void)printf("%-44s %-5s %-14s %-22s %s\n", "POD", "NODE", "ADDRESS", "", "PID");
		json_object_foreach (l.pods, key, pod)
			print_pod(key, pod);
		(void)printf("%u nodes; objects for `culvert node --config-dir`: " LAB_CONFIG_DIR
			     "\n",
			     l.node_count);
	}
	lab_close(&l);
	return 0;
}

/* --- table --- */

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"up", lab_up,
	 "make nodes and pods from a folder of manifests, or bring them to what it says now"},
	{"down", lab_down, "stop and remove everything"},
	{"exec", lab_exec, "run a command in a pod or on a node"},
	{"status", lab_status, "list the pods"},
	{"restart", lab_restart, "stop and start one pod; it keeps its addresses"},
	{"label", lab_label, "change labels of an object, as `kubectl label` would"},
};

static int usage_lab(FILE *f, int code)
{
	(void)fputs("Usage: culvert lab COMMAND ...\n\n"
		    "Nodes and pods of a small cluster as network namespaces on this machine, "
		    "without Kubernetes:\n"
		    "real nginx and httpd from ordinary manifests, cluster IPs, cluster DNS. Needs "
		    "root.\n\n",
		    f);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		(void)fprintf(f, "  %-8s %s\n", commands[i].name, commands[i].help);
	(void)fputs("\nExample:\n"
		    "  culvert lab up tools/samples/demo\n"
		    "  culvert lab exec demo/nginx -- curl -s http://httpd\n"
		    "  culvert lab down\n",
		    f);
	return code;
}

int cli_lab(int argc, char **argv)
{
	if (argc < 2)
		return usage_lab(stderr, 2);
	if (streq(argv[1], "--help") || streq(argv[1], "-h") || streq(argv[1], "help"))
		return usage_lab(stdout, 0);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (streq(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return lab_fail(2, "no command is called %s; `culvert lab --help` lists them", argv[1]);
}
