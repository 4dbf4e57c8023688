/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cni - what culvert-cni, which a container runtime starts for each pod, and culvert-agent say to
 * each other over a UNIX SOCK_SEQPACKET socket: one request, one reply, then the end; a log line
 * has no reply. Both run as root on one machine and check that of each other (SO_PEERCRED). Host
 * byte order, fixed layouts. The two may be of different builds for a moment: another version is
 * answered with CNI_AGAIN, and the runtime comes back with the plugin that the agent has installed
 * since. */
#include <stdint.h>

#define CNI_PROTOCOL 1
/* The same path for host and agent: a folder of the node, mounted into the agent's container. */
#define CNI_RUN_DIR     "/run/culvert-cni"
#define CNI_SOCKET_NAME "agent.sock"
/* Beside the socket. The namespaces whose pods were not in the mesh when the agent knew last, a
 * name per line; and a file as old as the first question that the agent was not there for. */
#define CNI_OUTSIDE_NAME "outside"
#define CNI_AWAY_NAME    "away"

#define CNI_PLUGIN_TYPE "culvert-cni" /* in a network configuration, and the program's name */

/* Of the specification, oldest first. */
#define CNI_VERSIONS "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"

enum cni_verb {
	CNI_ADD = 1, /* with the pod's network namespace as descriptor */
	CNI_DEL,     /* the sandbox is going */
	CNI_CHECK,   /* is it as ADD left it? */
	CNI_LOG,     /* a line for the agent's log */
	CNI_VERB_MAX,
};

struct cni_request {
	uint32_t protocol; /* CNI_PROTOCOL */
	uint32_t verb;     /* enum cni_verb */
	char namespace_[64];
	char pod[256];
	char uid[64];        /* of the pod; "": the runtime does not tell */
	char container[128]; /* of the sandbox */
	char message[512];   /* CNI_LOG */
};

enum cni_verdict {
	CNI_CAPTURED = 1, /* in the mesh, with a ztunnel */
	CNI_REFUSING,     /* in the mesh: its connections are refused until ztunnel is there */
	CNI_OUTSIDE,      /* not in the mesh */
	CNI_AGAIN,        /* it cannot be said or done yet: the pod must wait */
	CNI_VERDICT_MAX,
};

struct cni_reply {
	uint32_t protocol;
	uint32_t verdict; /* enum cni_verdict */
	char message[512];
};
