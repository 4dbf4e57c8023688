/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "base/files_limit.h"
#include "base/log.h"
#include "base/option.h"
#include "base/str.h"
#include "base/timeslice.h"
#include "cni_install.h"
#include "datapath.h"
#include "guard.h"

/* Each pod costs a dozen descriptors for a moment and one for good. */
#define NOFILE_WANTED 65536
#define NOFILE_ROOM   4096
#define NODE_MAX      63 /* RFC 1123 label, and the field in zds HELLO */

#define FIELD(f) offsetof(struct agent_options, f)

static const struct option_def options[] = {
	{.name = "node",
	 .type = OPTION_STRING,
	 .offset = FIELD(node),
	 .env = "NODE_NAME",
	 .value_name = "NAME",
	 .help = "name of this node: pods with this spec.nodeName are served"},
	{.name = "config-dir",
	 .type = OPTION_STRING,
	 .offset = FIELD(config_dir),
	 .value_name = "DIR",
	 .help = "folder of Kubernetes manifests"},
	{.name = "run-dir",
	 .type = OPTION_STRING,
	 .offset = FIELD(run_dir),
	 .value_name = "DIR",
	 .help = "where the sockets are (default: /run/culvert/NAME)"},
	{.name = "pin-dir",
	 .type = OPTION_STRING,
	 .offset = FIELD(pin_dir),
	 .default_value = "/sys/fs/bpf/culvert",
	 .value_name = "DIR",
	 .help = "folder on a bpffs for maps, programs and links; one per node"},
	{.name = "ztunnel-user",
	 .type = OPTION_STRING,
	 .offset = FIELD(ztunnel_user),
	 .default_value = "culvert-ztunnel",
	 .value_name = "USER",
	 .help = "who may connect as ztunnel, besides root"},
	{.name = "same-node",
	 .type = OPTION_STRING,
	 .offset = FIELD(same_node),
	 .default_value = "direct",
	 .env = "CULVERT_SAME_NODE",
	 .value_name = "MODE",
	 .help = "between two pods of this node: direct (inside the kernel, once ztunnel has "
		 "allowed it), or encrypt (always through ztunnel)"},
	{.name = "uplink",
	 .type = OPTION_STRING,
	 .offset = FIELD(uplink),
	 .env = "CULVERT_UPLINK",
	 .value_name = "IFACE",
	 .help = "interface to the other nodes: plaintext that a policy refuses from anyone is "
		 "dropped there by XDP (default: none)"},
	{.name = "host-bypass",
	 .type = OPTION_STRING,
	 .offset = FIELD(host_bypass),
	 .default_value = "established",
	 .env = "CULVERT_HOST_BYPASS",
	 .value_name = "MODE",
	 .help = "packets of direct connections that skip the host's stack: established (the "
		 "host's filters see the handshake), full (nothing in the host filters pods), or "
		 "off (none may, so pods of this node use tunnels)"},
	{.name = "local-congestion",
	 .type = OPTION_STRING,
	 .offset = FIELD(local_congestion),
	 .default_value = "reno",
	 .env = "CULVERT_LOCAL_CONGESTION",
	 .value_name = "MODE",
	 .help = "congestion control of captured connections while they stay in this node's "
		 "memory: reno, which does nothing there, or own (what the pod's namespace has)"},
	{.name = "kubernetes",
	 .type = OPTION_BOOL,
	 .offset = FIELD(is_kubernetes),
	 .env = "CULVERT_KUBERNETES",
	 .help = "pods and namespaces from the API server, as a pod of the cluster"},
	{.name = "kubeconfig",
	 .type = OPTION_STRING,
	 .offset = FIELD(kubeconfig),
	 .env = "KUBECONFIG",
	 .value_name = "FILE",
	 .help = "with --kubernetes: how to reach the API server from outside a pod"},
	{.name = "handover",
	 .type = OPTION_STRING,
	 .offset = FIELD(handover),
	 .env = "CULVERT_HANDOVER",
	 .value_name = "PATH",
	 .help = "socket by which a new agent of this node takes over from an old one; both need "
		 "it "
		 "(default: a second agent ends with an error)"},
	DIAL_OPTIONS(struct agent_options, control),
	{.name = "daemonset",
	 .type = OPTION_STRING,
	 .offset = FIELD(daemonset),
	 .value_name = "NAMESPACE/NAME",
	 .help = "with --kubernetes: when this is gone at the agent's end, take everything away "
		 "from "
		 "the node"},
	{.name = "cni-run-dir",
	 .type = OPTION_STRING,
	 .offset = FIELD(cni_run_dir),
	 .value_name = "DIR",
	 .help = "folder of the socket that culvert-cni asks at; the same path on the node and "
		 "here "
		 "(default: no such socket)"},
	{.name = "cni-bin-dir",
	 .type = OPTION_STRING,
	 .offset = FIELD(cni_bin_dir),
	 .value_name = "DIR",
	 .help = "put culvert-cni into this folder of the node; without --cni-run-dir: take away "
		 "what is there of it"},
	{.name = "cni-conf-dir",
	 .type = OPTION_STRING,
	 .offset = FIELD(cni_conf_dir),
	 .value_name = "DIR",
	 .help = "and into the network configuration in this one"},
	{.name = "cni-exempt-namespaces",
	 .type = OPTION_STRING,
	 .offset = FIELD(cni_exempt),
	 .default_value = "istio-system,kube-system",
	 .value_name = "LIST",
	 .help = "pods of these namespaces start even when the agent cannot be asked; those of "
		 "istio-system and kube-system do in any case"},
	{.name = "cni-away-grace",
	 .type = OPTION_U64,
	 .offset = FIELD(cni_grace_s),
	 .default_value = "0",
	 .max = 604800,
	 .value_name = "SECONDS",
	 .help = "after so long without the agent, pods of namespaces that it last knew outside "
		 "the mesh start, in plaintext also where one has been enrolled since; 0: never"},
	{.name = "log-level",
	 .type = OPTION_STRING,
	 .offset = FIELD(log_level),
	 .default_value = "info",
	 .env = "CULVERT_LOG_LEVEL",
	 .value_name = "LEVEL",
	 .help = "error, warn, info, debug or trace"},
	{.name = "log-json",
	 .type = OPTION_BOOL,
	 .offset = FIELD(is_log_json),
	 .help = "log lines as JSON"},
	{.name = "ready",
	 .type = OPTION_BOOL,
	 .offset = FIELD(is_asked),
	 .help = "say by the exit code whether the agent of --run-dir is ready: it knows the "
		 "node's "
		 "pods, and its CNI plugin is in place; for a probe"},
	{.name = "await-end",
	 .type = OPTION_BOOL,
	 .offset = FIELD(is_awaited),
	 .help = "wait for the end of the agent of --run-dir, 10 s at most, unless another has "
		 "taken over; for a hook before ztunnel's end, which so serves until pods have "
		 "left the mesh"},
	{.name = "clean",
	 .type = OPTION_BOOL,
	 .offset = FIELD(is_clean),
	 .help = "detach and remove all that is pinned in --pin-dir, then exit"},
	{.name = NULL},
};

static int usage_error(const char *message)
{
	(void)fprintf(stderr, "culvert-agent: %s\n", message);
	return EXIT_FAILURE;
}

/* Return: NULL when all is well, else a sentence. */
static const char *options_check(const struct agent_options *o)
{
	if (log_level_from_string(o->log_level) == LOG_LEVEL_INVALID)
		return "--log-level: expected error, warn, info, debug or trace";
	if (!streq(o->same_node, "direct") && !streq(o->same_node, "encrypt"))
		return "--same-node: expected direct or encrypt";
	if (guard_bypass_from_string(o->host_bypass) == GUARD_BYPASS_INVALID)
		return "--host-bypass: expected off, established or full";
	if (!streq(o->local_congestion, "reno") && !streq(o->local_congestion, "own"))
		return "--local-congestion: expected reno or own";
	if (o->is_asked || o->is_awaited)
		return o->run_dir ? NULL : "--ready, --await-end: expected --run-dir";
	if (geteuid() != 0)
		return "must be started as root (it then gives up all but five capabilities)";
	if (!o->cni_bin_dir != !o->cni_conf_dir)
		return "--cni-bin-dir and --cni-conf-dir go together";
	if (o->is_clean)
		return NULL;
	if (!o->node || o->node[0] == '\0' || strlen(o->node) > NODE_MAX)
		return "--node: expected a node name of 1 to 63 characters";
	if (strchr(o->node, '/'))
		return "--node: expected a name without /";
	if (!o->config_dir && !o->is_kubernetes)
		return "expected --config-dir DIR (a folder of manifests) or --kubernetes";
	if (o->daemonset && !strchr(o->daemonset, '/'))
		return "--daemonset: expected NAMESPACE/NAME";
	if (o->config_dir && o->is_kubernetes)
		return "--config-dir and --kubernetes exclude each other";
	return NULL;
}

/* The plugin first: no pod is to be promised what is being taken away. */
static int clean(const struct agent_options *o)
{
	const struct cni_dirs dirs = {.bin = o->cni_bin_dir, .conf = o->cni_conf_dir};
	int r = dirs.bin ? cni_uninstall(&dirs) : 0;

	return datapath_clean(o->pin_dir) < 0 || r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int serve(const struct agent_options *o)
{
	_cleanup_(agent_freep) struct agent *a = NULL;
	int r;

	(void)files_limit_raise(NOFILE_WANTED);
	files_table_grow(NOFILE_ROOM);
	timeslice_shorten();
	if (agent_new(o, &a) < 0)
		return EXIT_FAILURE;
	r = agent_run(a);
	a = agent_free(a);
	if (r < 0)
		return EXIT_FAILURE;
	if (r == 0)
		return EXIT_SUCCESS;
	log_info("agent", "the mesh leaves this node: pods are released, the plugin is taken away");
	return clean(o);
}

int main(int argc, char **argv)
{
	struct agent_options o = {0};
	char err[256];
	const char *wrong;
	int r, rest;

	r = option_parse(options, &o, argc, argv, &rest, err, sizeof(err));
	if (r == -ECANCELED) {
		option_help(
			options,
			"culvert-agent --node NAME {--config-dir DIR | --kubernetes} [OPTION]...",
			"Loads the BPF programs, enrols this node's pods and serves ztunnel's "
			"sockets.");
		return EXIT_SUCCESS;
	}
	if (r < 0)
		return usage_error(err);
	if (rest < argc)
		return usage_error("takes no arguments; see --help");
	wrong = options_check(&o);
	if (wrong)
		return usage_error(wrong);
	/* What other users may not reach has a mode of its own; the folders on the way there must
	 * be passable. */
	(void)umask(022);
	log_set_level(log_level_from_string(o.log_level));
	log_set_format_json(o.is_log_json);
	if (o.is_asked)
		return agent_ready_ask(o.run_dir) ? EXIT_SUCCESS : EXIT_FAILURE;
	if (o.is_awaited) {
		agent_end_await(o.run_dir);
		return EXIT_SUCCESS;
	}
	if (o.is_clean)
		return clean(&o);
	log_open();
	return serve(&o);
}
