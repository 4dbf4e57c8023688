/* SPDX-License-Identifier: Apache-2.0 */
/* node - run one node of the mesh: control, agent and ztunnel, each its own process, restarted when
 * it dies. This process holds nothing that they need: killed and started again, it takes the
 * running ones over (by pid file and pidfd) without touching a connection. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/beside.h"
#include "base/cleanup.h"
#include "base/drop.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "cli.h"

#define BACKOFF_MIN_US (100ULL * 1000)
#define BACKOFF_MAX_US (5ULL * 1000000)
#define STABLE_US      (10ULL * 1000000) /* lived this long: the back-off starts over */
#define FIRST_LIFE_US                                                                              \
	(1ULL * 1000000) /* an exit before this, on the first try, is a mistake of set-up */
#define ARGS_MAX     16
#define CONTROL_USER "culvert-control"
#define ZTUNNEL_USER "culvert-ztunnel"

struct node_options {
	const char *config_dir;
	const char *node;
	const char *run_dir;
	const char *ca_dir;
	const char *pin_dir;
	uint64_t workers;
	uint64_t grace_s;
	const char *crl;
};

static const struct option_def node_defs[] = {
	{.name = "config-dir",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct node_options, config_dir),
	 .value_name = "DIR",
	 .help = "folder of Kubernetes and Istio manifests; changes are seen at once"},
	{.name = "node",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct node_options, node),
	 .env = "NODE_NAME",
	 .value_name = "NAME",
	 .help = "this node's name, as in spec.nodeName of its pods (default: the host's name)"},
	{.name = "run-dir",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct node_options, run_dir),
	 .value_name = "DIR",
	 .help = "sockets and pid files (default: " CLI_RUN_ROOT "/NAME)"},
	{.name = "ca-dir",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct node_options, ca_dir),
	 .default_value = "/var/lib/culvert/ca",
	 .value_name = "DIR",
	 .help = "the CA's key and certificates, under the file names of Istio's cacerts"},
	{.name = "pin-dir",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct node_options, pin_dir),
	 .default_value = "/sys/fs/bpf/culvert",
	 .value_name = "DIR",
	 .help = "where maps, programs and links are pinned"},
	{.name = "workers",
	 .type = OPTION_U64,
	 .offset = offsetof(struct node_options, workers),
	 .default_value = "2",
	 .min = 1,
	 .max = 64,
	 .env = "ZTUNNEL_WORKER_THREADS",
	 .value_name = "N",
	 .help = "threads of ztunnel"},
	{.name = "crl",
	 .type = OPTION_STRING,
	 .offset = offsetof(struct node_options, crl),
	 .env = "CRL_PATH",
	 .value_name = "FILE",
	 .help = "certificate revocation lists, followed by ztunnel"},
	{.name = "grace",
	 .type = OPTION_U64,
	 .offset = offsetof(struct node_options, grace_s),
	 .default_value = "10",
	 .min = 0,
	 .max = 3600,
	 .value_name = "SECONDS",
	 .help = "how long ztunnel may drain when the node is stopped"},
	{0},
};

static const char node_help[] = "Run one node: starts culvert-control, culvert-agent and "
				"culvert-ztunnel and starts each again when it "
				"ends. Pods are given by Pod manifests in DIR whose spec.nodeName "
				"is this node and whose annotation "
				"culvert.io/netns or culvert.io/pid names their network namespace; "
				"those in an enrolled namespace "
				"(label istio.io/dataplane-mode=ambient or "
				"culvert.io/mesh=enabled) are captured while they run. "
				"SIGTERM stops the node: its pods stay captured, and are refused "
				"rather than sent in plaintext; "
				"\"culvert-agent --clean\" sets them free.";

struct node;

/* One of the three processes. */
struct child {
	const char *name;
	struct node *node;
	const char *argv[ARGS_MAX];
	size_t argc;
	pid_t pid;               /* 0: not running */
	struct loop_fd watch;    /* pidfd: readable when the process has ended */
	struct loop_timer timer; /* next start, or the end of grace */
	uint64_t started_us;
	uint64_t backoff_us;
	bool is_ours; /* a child of this process, so that wait() tells how it ended */
	bool was_stable;
};

enum { CHILD_CONTROL, CHILD_AGENT, CHILD_ZTUNNEL, CHILD_MAX };

struct node {
	const struct node_options *o;
	struct loop *loop;
	int lock_fd;
	char run_dir[CLI_PATH_MAX];
	char node_name[CLI_PATH_MAX];
	char workers[8];
	struct child children[CHILD_MAX];
	bool is_stopping;
	int exit_code;
};

static void child_pid_path(const struct child *c, char path[CLI_PATH_MAX * 2])
{
	(void)snprintf(path, CLI_PATH_MAX * 2, "%s/%s.pid", c->node->run_dir, c->name);
}

/* process_start_time() - field 22 of /proc/PID/stat: with the pid, it names a process for good. */
static int process_start_time(pid_t pid, uint64_t *ret)
{
	_cleanup_(freep) char *text = NULL;
	char path[64];
	char *p, *save = NULL;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	r = file_read(path, 4096, &text, NULL);
	if (r < 0)
		return r;
	p = strrchr(text, ')');
	if (!p)
		return -EBADMSG;
	p = strtok_r(p + 1, " ", &save);
	for (int field = 3; p && field < 22; field++)
		p = strtok_r(NULL, " ", &save);
	return p ? str_parse_u64(p, 0, UINT64_MAX, ret) : -EBADMSG;
}

static void child_write_pid(const struct child *c)
{
	char path[CLI_PATH_MAX * 2];
	char text[64];
	uint64_t start = 0;
	int n;

	if (process_start_time(c->pid, &start) < 0)
		return;
	child_pid_path(c, path);
	n = snprintf(text, sizeof(text), "%d %llu\n", (int)c->pid, (unsigned long long)start);
	if (file_write_atomic(path, text, (size_t)n, 0644) < 0)
		log_warn("node", "cannot write pid file path=%s", path);
}

static int child_watch(struct child *c)
{
	int fd = pidfd_open(c->pid, 0);

	if (fd < 0)
		return -errno;
	c->watch.fd = fd;
	return loop_add(c->node->loop, &c->watch, EPOLLIN);
}

_noreturn_ static void child_exec(const struct child *c)
{
	_cleanup_(freep) char *path = NULL;
	sigset_t none;
	int r;

	/* The loop blocks signals and Ctrl-C reaches the whole group: neither is for the child. */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setpgid(0, 0);
	r = beside_path(c->name, &path);
	if (r == 0) {
		(void)execv(path, (char *const *)c->argv);
		r = -errno;
	}
	(void)log_error_errno("node", r, "cannot run process=%s", c->name);
	_exit(127);
}

static void child_start_later(struct child *c)
{
	(void)loop_timer_set(c->node->loop, &c->timer, c->backoff_us);
	c->backoff_us = MIN(c->backoff_us * 2, BACKOFF_MAX_US);
}

static void child_start(struct child *c)
{
	pid_t pid = fork();

	if (pid == 0)
		child_exec(c);
	if (pid < 0) {
		(void)log_error_errno("node", -errno, "cannot fork process=%s", c->name);
		child_start_later(c);
		return;
	}
	c->pid = pid;
	c->is_ours = true;
	c->started_us = loop_now_us(c->node->loop);
	child_write_pid(c);
	if (child_watch(c) < 0) {
		/* Unwatched it would never be restarted: try again with another. */
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		c->watch.fd = close_fd(c->watch.fd);
		c->pid = 0;
		child_start_later(c);
		return;
	}
	log_info("node", "process started process=%s pid=%d", c->name, (int)pid);
}

/* child_adopt() - take over a process that an earlier supervisor left running. */
static bool child_adopt(struct child *c)
{
	char path[CLI_PATH_MAX * 2];
	_cleanup_(freep) char *text = NULL;
	unsigned long long start = 0;
	uint64_t now = 0;
	int pid = 0;

	child_pid_path(c, path);
	if (file_read(path, 128, &text, NULL) < 0)
		return false;
	if (sscanf(text, "%d %llu", &pid, &start) != 2 || pid <= 1) /* NOLINT(cert-err34-c) */
		return false;
	c->pid = (pid_t)pid;
	c->is_ours = false;
	/* First the pidfd, then the check: after it the pid cannot become somebody else's. */
	if (child_watch(c) < 0 || process_start_time(c->pid, &now) < 0 || now != start) {
		loop_del(&c->watch);
		c->watch.fd = close_fd(c->watch.fd);
		c->pid = 0;
		return false;
	}
	c->started_us = loop_now_us(c->node->loop);
	c->was_stable = true;
	log_info("node", "process taken over process=%s pid=%d", c->name, pid);
	return true;
}

static void node_stop_if_idle(struct node *n)
{
	for (size_t i = 0; i < CHILD_MAX; i++)
		if (n->children[i].pid > 0)
			return;
	loop_stop(n->loop, n->exit_code);
}

/* node_stop() - ask every process to end; twice: at once. */
static void node_stop(struct node *n, int exit_code)
{
	int signo = n->is_stopping ? SIGKILL : SIGTERM;

	if (!n->is_stopping)
		n->exit_code = exit_code;
	n->is_stopping = true;
	for (size_t i = 0; i < CHILD_MAX; i++) {
		struct child *c = &n->children[i];

		loop_timer_del(&c->timer);
		if (c->pid <= 0)
			continue;
		(void)pidfd_send_signal(c->watch.fd, signo, NULL, 0);
		(void)loop_timer_set(n->loop, &c->timer, n->o->grace_s * 1000000);
	}
	node_stop_if_idle(n);
}

/* child_report() - say how it ended. Return: true when it could not even start. */
static bool child_report(const struct child *c, uint64_t lived_us)
{
	bool is_expected = c->node->is_stopping;
	enum log_level level = is_expected ? LOG_INFO : LOG_ERROR;
	int status = 0;

	if (!c->is_ours || waitpid(c->pid, &status, 0) != c->pid) {
		log_write(level, "node", "process ended process=%s pid=%d", c->name, (int)c->pid);
		return false;
	}
	if (WIFSIGNALED(status)) {
		log_write(level, "node", "process ended process=%s pid=%d signal=%s", c->name,
			  (int)c->pid, sigabbrev_np(WTERMSIG(status)));
		return false;
	}
	log_write(level, "node", "process ended process=%s pid=%d exit_code=%d", c->name,
		  (int)c->pid, WEXITSTATUS(status));
	return WEXITSTATUS(status) != 0 && !c->was_stable && lived_us < FIRST_LIFE_US;
}

static void on_child_end(struct loop_fd *w, uint32_t events)
{
	struct child *c = container_of(w, struct child, watch);
	struct node *n = c->node;
	uint64_t lived_us = loop_now_us(n->loop) - c->started_us;
	char path[CLI_PATH_MAX * 2];
	bool is_setup_failure;

	is_setup_failure = child_report(c, lived_us);
	loop_timer_del(&c->timer);
	loop_del(&c->watch);
	c->watch.fd = close_fd(c->watch.fd);
	c->pid = 0;
	child_pid_path(c, path);
	(void)unlink(path);
	if (n->is_stopping) {
		node_stop_if_idle(n);
		return;
	}
	if (is_setup_failure) {
		log_error("node", "stopping: a process cannot start process=%s", c->name);
		node_stop(n, 1);
		return;
	}
	c->was_stable = true;
	if (lived_us >= STABLE_US)
		c->backoff_us = BACKOFF_MIN_US;
	child_start_later(c);
}

static void on_child_timer(struct loop_timer *t)
{
	struct child *c = container_of(t, struct child, timer);

	if (!c->node->is_stopping)
		child_start(c);
	else if (c->pid > 0)
		(void)pidfd_send_signal(c->watch.fd, SIGKILL, NULL, 0);
}

static void on_signal(int signo, void *arg)
{
	log_info("node", "stopping signal=%s", sigabbrev_np(signo));
	node_stop(arg, 0);
}

static void child_arg(struct child *c, const char *arg)
{
	if (c->argc + 1 < ARGS_MAX)
		c->argv[c->argc++] = arg;
}

static struct child *child_init(struct node *n, int which, const char *name)
{
	struct child *c = &n->children[which];

	c->name = name;
	c->node = n;
	c->backoff_us = BACKOFF_MIN_US;
	c->watch.fd = -EBADF;
	c->watch.on_event = on_child_end;
	c->timer.on_timer = on_child_timer;
	child_arg(c, name);
	child_arg(c, "--node");
	child_arg(c, n->node_name);
	child_arg(c, "--run-dir");
	child_arg(c, n->run_dir);
	return c;
}

static void node_init_children(struct node *n)
{
	struct child *c;

	c = child_init(n, CHILD_CONTROL, "culvert-control");
	child_arg(c, "--config-dir");
	child_arg(c, n->o->config_dir);
	child_arg(c, "--ca-dir");
	child_arg(c, n->o->ca_dir);
	child_arg(c, "--user");
	child_arg(c, CONTROL_USER);
	child_arg(c, "--allow-user");
	child_arg(c, ZTUNNEL_USER);
	c = child_init(n, CHILD_AGENT, "culvert-agent");
	child_arg(c, "--config-dir");
	child_arg(c, n->o->config_dir);
	child_arg(c, "--pin-dir");
	child_arg(c, n->o->pin_dir);
	child_arg(c, "--ztunnel-user");
	child_arg(c, ZTUNNEL_USER);
	c = child_init(n, CHILD_ZTUNNEL, "culvert-ztunnel");
	child_arg(c, "--user");
	child_arg(c, ZTUNNEL_USER);
	child_arg(c, "--workers");
	(void)snprintf(n->workers, sizeof(n->workers), "%u", (unsigned int)n->o->workers);
	child_arg(c, n->workers);
	if (!n->o->crl)
		return;
	child_arg(c, "--crl");
	child_arg(c, n->o->crl);
}

/* node_names() - fill in what was not given. Return: 0 or the exit code, told. */
static int node_names(struct node *n)
{
	int len;

	if (n->o->node && str_copy(n->node_name, sizeof(n->node_name), n->o->node) < 0)
		return cli_fail("node: --node is too long");
	if (!n->o->node && gethostname(n->node_name, sizeof(n->node_name) - 1) < 0)
		return cli_fail("node: cannot read the host's name; give --node");
	if (!n->node_name[0] || strchr(n->node_name, '/'))
		return cli_fail("node: \"%s\" is not a node name", n->node_name);
	if (n->o->run_dir)
		len = snprintf(n->run_dir, sizeof(n->run_dir), "%s", n->o->run_dir);
	else
		len = snprintf(n->run_dir, sizeof(n->run_dir), "%s/%s", CLI_RUN_ROOT, n->node_name);
	if (len >= (int)sizeof(n->run_dir))
		return cli_fail("node: the run directory's name is too long");
	return 0;
}

/* node_check() - everything that would fail later, said now in one line. Return: 0 or the exit
 * code. */
static int node_check(const struct node *n)
{
	static const char *const users[] = {CONTROL_USER, ZTUNNEL_USER};
	struct user u;
	struct stat st;

	if (!n->o->config_dir)
		return cli_fail("node: --config-dir is needed (--help explains it)");
	if (geteuid() != 0)
		return cli_fail("node: must be run as root");
	if (stat(n->o->config_dir, &st) < 0 || !S_ISDIR(st.st_mode))
		return cli_fail("node: %s is not a folder", n->o->config_dir);
	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		if (user_lookup(users[i], &u) < 0)
			return cli_fail(
				"node: there is no system user \"%s\"; tools/setup makes it",
				users[i]);
	for (size_t i = 0; i < CHILD_MAX; i++) {
		_cleanup_(freep) char *path = NULL;
		int r = beside_path(n->children[i].name, &path);

		if (r < 0)
			return cli_fail("node: cannot tell where this program is: %s",
					strerror(-r));
		if (access(path, X_OK) < 0)
			return cli_fail("node: cannot run %s: %s", path, strerror(errno));
	}
	return 0;
}

/* node_lock() - one supervisor per run directory. The lock is not inherited: children may outlive
 * it. */
static int node_lock(struct node *n)
{
	char path[CLI_PATH_MAX * 2];
	int r;

	r = mkdir_p(n->run_dir, 0755);
	if (r < 0)
		return cli_fail("node: cannot make %s: %s", n->run_dir, strerror(-r));
	(void)snprintf(path, sizeof(path), "%s/node.lock", n->run_dir);
	n->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (n->lock_fd < 0)
		return cli_fail("node: cannot open %s: %s", path, strerror(errno));
	if (flock(n->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return cli_fail("node: node %s is already running (%s is locked)", n->node_name,
				path);
	return 0;
}

static int node_run(struct node *n)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		r = loop_signal(n->loop, signals[i], on_signal, n);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < CHILD_MAX; i++)
		if (!child_adopt(&n->children[i]))
			child_start(&n->children[i]);
	return loop_run(n->loop);
}

int cli_node(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = node_defs,
		.usage = "culvert node --config-dir DIR [options]",
		.help = node_help,
	};
	_cleanup_(loop_freep) struct loop *loop = NULL;
	struct node_options o = {0};
	struct node n = {.o = &o, .lock_fd = -EBADF};
	int r;

	r = cli_parse(&syntax, &o, argc, argv);
	if (r <= 0)
		return r < 0 ? 2 : 0;
	log_open(); /* for the daemons, too: they may not open it themselves */
	r = node_names(&n);
	if (r > 0)
		return r;
	node_init_children(&n);
	r = node_check(&n);
	if (r == 0)
		r = node_lock(&n);
	if (r > 0)
		return r;
	r = loop_new(&loop);
	if (r < 0)
		return cli_fail("node: %s", strerror(-r));
	n.loop = loop;
	r = node_run(&n);
	(void)close_fd(n.lock_fd);
	return r < 0 ? cli_fail("node: %s", strerror(-r)) : r;
}
