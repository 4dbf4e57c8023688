/* SPDX-License-Identifier: Apache-2.0 */
/* culvert-ztunnel - the L4 proxy of a node. Starts as root to make its folder, then becomes its
 * user for good: no capabilities, no network sockets of its own making but the admin ones, a
 * seccomp filter. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/drop.h"
#include "base/log.h"
#include "base/log_filter.h"
#include "base/macros.h"
#include "base/option.h"
#include "base/reserve.h"
#include "base/str.h"
#include "base/timeslice.h"
#include "base/trim.h"
#include "tls/gcm.h"
#include "xds/dial_options.h"
#include "ztunnel/descriptors.h"
#include "ztunnel/memory_limit.h"
#include "ztunnel/node.h"
#include "ztunnel/seccomp.h"

#define TARGET       "ztunnel"
#define PATH_MAX_LEN 108

struct config {
	const char *node;
	const char *run_dir;
	const char *user;
	const char *log_level;
	const char *log_format;
	uint64_t workers;
	uint64_t poll_us;
	uint64_t admin_port, metrics_port, ready_port;
	uint64_t drain_s;
	const char *crl;
	struct dial_options control;
};

static const struct option_def options[] = {
	{"node", 'n', OPTION_STRING, offsetof(struct config, node), NULL, 0, 0, "NODE_NAME", "NAME",
	 "name of this node"},
	{"run-dir", 0, OPTION_STRING, offsetof(struct config, run_dir), NULL, 0, 0, NULL, "DIR",
	 "sockets of agent and control plane, default /run/culvert/NODE"},
	{"user", 'u', OPTION_STRING, offsetof(struct config, user), "culvert-ztunnel", 0, 0, NULL,
	 "NAME", "user to become when started as root"},
	{"workers", 'w', OPTION_U64, offsetof(struct config, workers), "2", 1, NODE_WORKERS_MAX,
	 "ZTUNNEL_WORKER_THREADS", "N", "threads that carry traffic"},
	{"poll-us", 0, OPTION_U64, offsetof(struct config, poll_us), "50", 0, 1000,
	 "CULVERT_POLL_US", "US",
	 "while traffic comes fast, look for more so long before sleeping; 0: sleep at once"},
	{"admin-port", 0, OPTION_U64, offsetof(struct config, admin_port), "15000", 0, 65535, NULL,
	 "PORT", "admin on 127.0.0.1; 0: none"},
	{"metrics-port", 0, OPTION_U64, offsetof(struct config, metrics_port), "15020", 0, 65535,
	 NULL, "PORT", "metrics; 0: none"},
	{"ready-port", 0, OPTION_U64, offsetof(struct config, ready_port), "15021", 0, 65535, NULL,
	 "PORT", "readiness; 0: none"},
	{"drain-s", 0, OPTION_U64, offsetof(struct config, drain_s), "5", 0, 3600,
	 "CONNECTION_TERMINATION_DEADLINE", "SECONDS",
	 "how long connections may go on after SIGTERM, where MeshConfig's "
	 "terminationDrainDuration "
	 "is not set"},
	{"crl", 0, OPTION_STRING, offsetof(struct config, crl), NULL, 0, 0, "CRL_PATH", "FILE",
	 "revocation lists in PEM, followed: whom they name is refused and cut"},
	DIAL_OPTIONS(struct config, control),
	{"log-level", 0, OPTION_STRING, offsetof(struct config, log_level), "info", 0, 0,
	 "RUST_LOG", "LEVEL",
	 "error, warn, info, debug, trace or off; of a scope: access=off,info"},
	{"log-format", 0, OPTION_STRING, offsetof(struct config, log_format), "plain", 0, 0,
	 "LOG_FORMAT", "FORMAT", "plain or json"},
	{0},
};

static int set_logging(const struct config *c)
{
	char err[256];
	int r = log_filter_set(c->log_level, err, sizeof(err));

	if (r < 0) {
		log_error(TARGET, "--log-level: %s", err);
		return r;
	}
	log_open();
	log_set_format_json(streq(c->log_format, "json"));
	return 0;
}

/* become_user() - our own folder is made while root still can. */
static int become_user(const struct config *c)
{
	char path[PATH_MAX_LEN];
	int r;

	(void)snprintf(path, sizeof(path), "%s/ztunnel", c->run_dir);
	if (geteuid() != 0) {
		r = mkdir_p(path, 0755);
		return r < 0 ? log_error_errno(TARGET, r, "cannot make %s", path) : 0;
	}
	r = mkdir_for_user(path, 0755, c->user);
	if (r == -ENOENT) {
		log_error(TARGET, "no user %s: tools/setup makes it", c->user);
		return r;
	}
	if (r < 0)
		return log_error_errno(TARGET, r, "cannot make %s", path);
	r = drop_to_user(c->user, NULL, 0);
	if (r < 0)
		return log_error_errno(TARGET, r, "cannot become %s", c->user);
	return 0;
}

/* load_gcm() - before any certificate and the seccomp filter. */
static void load_gcm(void)
{
	const char *why;
	int r = tls_gcm_load(&why);

	if (r == 0)
		trim_code(); /* to try itself the library has run some megabytes of it */
	if (r == -EIO)
		log_warn(TARGET, "AES-GCM by OpenSSL: %s", why);
	else
		log_debug(TARGET, "AES-GCM by %s%s", r < 0 ? "OpenSSL: " : "", why);
}

static int run(const struct config *c)
{
	_cleanup_(node_freep) struct node *n = NULL;
	const struct node_config config = {
		.name = c->node,
		.run_dir = c->run_dir,
		.workers = (unsigned int)c->workers,
		.poll_us = c->poll_us,
		.admin_port = (uint16_t)c->admin_port,
		.metrics_port = (uint16_t)c->metrics_port,
		.ready_port = (uint16_t)c->ready_port,
		.drain_us = c->drain_s * 1000000,
		.crl = c->crl && c->crl[0] ? c->crl : NULL,
		.control = c->control,
	};
	char err[256];
	int r;

	r = node_new(&config, err, sizeof(err), &n);
	if (r < 0) {
		log_error(TARGET, "%s", err);
		return r;
	}
	r = seccomp_apply(c->control.xds_address && c->control.xds_address[0]);
	if (r < 0)
		return log_error_errno(TARGET, r, "cannot apply the seccomp filter");
	r = node_run(n);
	if (r < 0)
		return log_error_errno(TARGET, r, "stopped");
	log_info(TARGET, "stopped");
	return 0;
}

static int parse(struct config *c, int argc, char **argv)
{
	char err[256];
	int rest, r;

	r = option_parse(options, c, argc, argv, &rest, err, sizeof(err));
	if (r == -ECANCELED) {
		option_help(
			options, "culvert-ztunnel --node NAME [options]",
			"The L4 proxy of a node: mutual TLS and L4 policy for its enrolled pods.");
		return r;
	}
	if (r < 0)
		log_error(TARGET, "%s", err);
	else if (rest < argc)
		log_error(TARGET, "unexpected argument \"%s\"", argv[rest]);
	else if (!c->node || c->node[0] == '\0' || strlen(c->node) >= 64)
		log_error(TARGET, "--node NAME is needed, at most 63 characters");
	else
		return 0;
	return -EINVAL;
}

int main(int argc, char **argv)
{
	struct config c = {0};
	char run_dir[PATH_MAX_LEN];
	int r;

	r = parse(&c, argc, argv);
	if (r == -ECANCELED)
		return EXIT_SUCCESS;
	if (r < 0 || set_logging(&c) < 0)
		return EXIT_FAILURE;
	(void)snprintf(run_dir, sizeof(run_dir), "/run/culvert/%s", c.node);
	if (!c.run_dir)
		c.run_dir = run_dir;
	(void)signal(SIGPIPE, SIG_IGN);
	descriptors_init();
	timeslice_shorten();
	if (become_user(&c) < 0)
		return EXIT_FAILURE;
	memory_protect(); /* the node's keys: in a core file they would be on a disk */
	load_gcm();
	memory_limit_init(NULL);
	if (!reserve_fill())
		log_warn(TARGET, "no memory to hold back: at its limit tunnels break");
	return run(&c) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
