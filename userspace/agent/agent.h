/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* agent - everything of one culvert-agent, put together. Owner: main. Thread: its only one. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "xds/dial_options.h"

struct agent; /* opaque */

struct agent_options {
	const char *node;
	const char *config_dir; /* of manifests; NULL: an API server */
	bool is_kubernetes;
	const char *kubeconfig; /* NULL: in a pod */
	struct dial_options control;
	const char *run_dir; /* /run/culvert/NODE when NULL */
	const char *pin_dir;
	const char *ztunnel_user;
	const char *same_node;        /* "direct" or "encrypt" */
	const char *uplink;           /* NULL: none is guarded */
	const char *host_bypass;      /* "off", "established" or "full" */
	const char *local_congestion; /* "reno" or "own" */
	const char *handover;         /* path of a socket; NULL: a second agent is an error */
	const char *daemonset;        /* "namespace/name"; NULL: none keeps the agent running */
	const char *cni_bin_dir;      /* NULL, as the next: culvert-cni is not installed */
	const char *cni_conf_dir;
	/* of the socket that culvert-cni asks at; NULL: none, and it is taken out of these */
	const char *cni_run_dir;
	const char *cni_exempt; /* "a,b": namespaces whose pods do not wait for the agent */
	uint64_t cni_grace_s;   /* how long the others do; 0: for ever */
	const char *log_level;
	bool is_log_json;
	bool is_clean;
	bool is_asked;   /* is the agent that runs here ready? */
	bool is_awaited; /* its end */
};

/**
 * agent_new() - prepare all that needs privileges, then give up those that are not needed any more
 * Return: 0; -errno, the failure has been logged.
 */
_must_check_ int agent_new(const struct agent_options *options, struct agent **ret);
/** agent_free() - stop; maps, programs and links stay. Takes NULL. Return: NULL. */
struct agent *agent_free(struct agent *a);
DEFINE_CLEANUP(struct agent *, agent_free);

/** agent_ready_ask() - of another process: does an agent run with this folder, and is it ready? */
bool agent_ready_ask(const char *run_dir);
/** agent_end_await() - of another process, which needs no rights but to see the agent's in /proc:
 * wait until the agent of this folder has ended; not for one that is not ready, or that has
 * retired or was killed, and 10 s at most. */
void agent_end_await(const char *run_dir);

/** agent_run() - serve until SIGTERM or SIGINT. Return: 0; 1: the mesh has been uninstalled, or the
 * DaemonSet is gone: nothing of ours on the node needs to stay; -errno. */
_must_check_ int agent_run(struct agent *a);
