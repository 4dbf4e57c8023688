/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* maps - keys and values that the BPF programs and the agent share. Every byte is defined, padding
 * is zero. Ports named *_port are host order unless the type is __be16. Map definitions:
 * bpf/maps.h. */
#include "addr.h"
#include "direct.h"
#include "guard.h"
#include "pod.h"
#include "reasons.h"
#include "reroute.h"
#include "rules.h"

/* None: known, and outside the mesh. */
enum cv_dest_flags {
	CV_DEST_MESH = 1 << 0, /* goes through ztunnel */
	CV_DEST_NODE = 1 << 1, /* cv_workloads: a node; cv_services has node ports at ::. cv_ranges,
				* at port 0: what a node gives its pods addresses from */
	CV_DEST_GONE = 1 << 2, /* MESH, and there no more: what the agent keeps for 10 s */
	CV_DEST_OURS =
		1 << 3, /* cv_services: MESH, and what has the address itself is outside the
			 * mesh, maybe one of the endpoints: no pod, nothing of kube-proxy's */
};

/* Before the name of what is gone, which is then no pod's. */
#define CV_DEST_GONE_NAME "gone: "

/* cv_workloads: struct cv_addr -> a workload by its IP.  cv_services: struct cv_service_key -> a
 * service frontend. */
struct cv_dest {
	__u32 flags; /* enum cv_dest_flags */
	__u32 zero;
	char name[CV_NAME_LEN]; /* "namespace/name", for people */
};

/* cv_conns, cv_vouched, cv_given: a connection as its dialler sees it. cv_directs: as either. */
struct cv_tuple {
	__u64 netns_cookie; /* cv_conns: of both ends (loopback); cv_vouched: 0, see bpf/README */
	struct cv_addr local;
	struct cv_addr remote;
	__be16 local_port;
	__be16 remote_port;
	__u32 zero;
};

/* The same connection, told by the other end. */
static inline struct cv_tuple cv_tuple_turned(const struct cv_tuple *t)
{
	return (struct cv_tuple){
		.netns_cookie = t->netns_cookie,
		.local = t->remote,
		.remote = t->local,
		.local_port = t->remote_port,
		.remote_port = t->local_port,
	};
}

/* Of the two ways to tell a connection, is this the one that is a key of cv_directs? Nobody asks
 * for the order but for its being one. */
static inline int cv_tuple_is_first(const struct cv_tuple *t)
{
	for (int i = 0; i < 4; i++)
		if (t->local.w[i] != t->remote.w[i])
			return t->local.w[i] < t->remote.w[i];
	return t->local_port < t->remote_port;
}

enum cv_conn_flags {
	CV_CONN_TO_ZTUNNEL =
		1 << 0, /* a redirected connection: `shown` is its original destination */
	CV_CONN_MPTCP =
		1 << 1, /* kept until the client closes: an MPTCP socket has no record of its own */
	CV_CONN_CHOICE = 1 << 2, /* TO_ZTUNNEL: times what SO_PRIORITY will be */
};

/* SO_PRIORITY of a connection that ztunnel accepts: which of a service's endpoints connect(2) has
 * left to it, in 16 bits. */
enum cv_choice {
	CV_CHOICE_ALL = 0,       /* any */
	CV_CHOICE_HERE = 1,      /* the one of this node that cv_choice_here() tells */
	CV_CHOICE_ELSEWHERE = 2, /* any that it could not have taken itself */
	CV_CHOICE_MASK = 3,
};

static inline __u32 cv_choice_here(const struct cv_sockaddr *endpoint)
{
	return CV_CHOICE_HERE | (cv_sockaddr_hash(endpoint) & 0x3fff) << 2;
}

/* cv_conns: struct cv_tuple -> what the accepting side is to be shown as its peer. */
struct cv_conn {
	struct cv_sockaddr shown; /* original destination (towards ztunnel) or the client (towards
				     the application) */
	__u32 flags;              /* enum cv_conn_flags */
	__u64 time_ns;            /* bpf_ktime_get_ns(), for the sweep */
};

/* What becomes of a dial of the node's own: the highest bits of time_s. */
enum cv_vouch_flags {
	CV_VOUCH_LED = 1 << 27,      /* by the node's rules: its socket's end is named otherwise */
	CV_VOUCH_ANSWERED = 1 << 28, /* the pod's link has seen a SYN-ACK */
	CV_VOUCH_ACCEPTED = 1 << 29,
	CV_VOUCH_LEFT = 1 << 30,    /* the pod's end has closed */
	CV_VOUCH_CLOSED = 1u << 31, /* the node's has: who says something now is another */
};
#define CV_VOUCH_TIME (CV_VOUCH_LED - 1)

/* cv_vouched: struct cv_tuple -> let this SYN through. 8 bytes: earlier agents' map is kept. */
struct cv_vouch {
	__u32 time_s;       /* CV_VOUCH_TIME: bpf_ktime_get_ns() / 10^9, for the sweep; flags */
	__u32 netns_cookie; /* who dialled; numbered from 1, the upper half is never used */
};

/* cv_steer (SOCKHASH): struct cv_steer_key -> ztunnel's listener for what arrives there. */
enum cv_steer_kind {
	CV_STEER_PLAIN = 0, /* any port but 15008 */
	CV_STEER_HBONE = 1, /* port 15008 */
};

struct cv_steer_key {
	struct cv_addr local;
	__u32 kind; /* enum cv_steer_kind */
};

/* What a socket is. Set by the agent when it makes the socket for ztunnel; never inherited by
 * accepted children. */
enum cv_socket_kind {
	CV_SOCKET_APP = 0,        /* a socket of a pod's own */
	CV_SOCKET_LISTEN = 1,     /* ztunnel's listener */
	CV_SOCKET_DIAL_APP = 2,   /* may connect to its own pod's addresses only */
	CV_SOCKET_DIAL_HBONE = 3, /* to port 15008 only */
	CV_SOCKET_DIAL_PLAIN = 4, /* never to an enrolled workload */
	CV_SOCKET_DNS = 5,        /* UDP or TCP to port 53 only */
	CV_SOCKET_KIND_MAX,
};

enum cv_socket_flags {
	CV_SOCKET_SHOWN = 1 << 0,      /* `shown` is set: getpeername and accept answer with it */
	CV_SOCKET_CHILD = 1 << 1,      /* accepted by ztunnel's listener: accept shows the original
					* destination once, getpeername later the real client */
	CV_SOCKET_ANSWERED = 1 << 2,   /* CHILD: accept has been answered */
	CV_SOCKET_REDIRECTED = 1 << 3, /* connect was rewritten */
	CV_SOCKET_BOUND = 1 << 4,  /* connect bound the pod's address: undone by the next connect */
	CV_SOCKET_DIRECT = 1 << 5, /* connect goes to a pod of this node without a tunnel; one that
				    * asked for that pod's own address may have no record */
	CV_SOCKET_REROUTED = 1 << 6, /* CHILD: of a machine in the pod, which counts as it */
	CV_SOCKET_CHOICE = 1 << 7,   /* REDIRECTED: the same */
};

/* cv_sockets (SK_STORAGE). */
struct cv_socket {
	__u32 kind;  /* enum cv_socket_kind */
	__u32 flags; /* enum cv_socket_flags */
	struct cv_sockaddr shown;
	/* DIRECT: what connect(2) found, for the moment before the SYN leaves. */
	__be16 dst_port;
	__u16 zero;
	__u64 dst_cookie;
	__u64 zero2; /* agents before this one kept something here: the map is taken over */
};

/* setsockopt(fd, CV_SOL_CULVERT, CV_SO_CLIENT, struct cv_sockaddr) on a DIAL_APP socket names the
 * client that the application is to see. Any other socket gets the kernel's ENOPROTOOPT. */
#define CV_SOL_CULVERT 0x4356
#define CV_SO_CLIENT   1

/* cv_nameservers: struct cv_addr -> __u32 number from 1; cv_nameserver_addrs: the reverse. IPv4:
 * the UDP destination becomes 127.64.0.0 + number. IPv6: cv_nameserver_slots {cookie, slot} ->
 * number, destination [::1]:dns_udp_ports[slot]. */
struct cv_nameserver_slot {
	__u64 netns_cookie;
	__u32 slot; /* < CV_DNS_PORTS */
	__u32 zero;
};
#define CV_MAX_NAMESERVERS 4096
/* cv_nameserver_last (ARRAY of one): the last number given. */

/* cv_passed: what connect(2) of a captured pod let past the mesh, each once, with how often:
 * nothing is told at the time. Key: the destination. */
struct cv_passed_key {
	__u64 netns_cookie; /* 0: a mark, see below */
	struct cv_addr addr;
	__be16 port;
	__u16 zero;
	__u32 reason; /* PASSTHROUGH, EXCLUDED, SELF; of a mark: enum cv_passed_mark */
};

/* The agent makes marks, first_ns is when. What was used last after last_ns of both is there. */
enum cv_passed_mark {
	CV_PASSED_MADE = 1,  /* count: entries that the programs have made; last_ns: when one found
			      * no room */
	CV_PASSED_TAKEN = 2, /* count: what the agent took out; last_ns: latest use of one */
};

struct cv_passed {
	__u64 first_ns, last_ns; /* bpf_ktime_get_ns() */
	__u64 count;
	struct cv_addr src;    /* pod's address of that family */
	char pod[CV_NAME_LEN]; /* as in cv_pods: it may be gone when this is read */
};

#define CV_PASSED_MAX 4096

/* cv_events (RINGBUF). */
struct cv_event {
	__u64 time_ns;
	__u64 netns_cookie;
	__u32 reason; /* enum cv_reason */
	__u32 pid;    /* 0 in softirq */
	struct cv_sockaddr local;
	struct cv_sockaddr remote; /* the destination asked for; NAMESERVER_NEW: the nameserver */
	__u32 arg;                 /* NAMESERVER_NEW: its number */
	__u32 arg2;                /* NAMESERVER_NEW: slot + 1 for IPv6, 0 for IPv4 */
	char comm[16];
};

/* rodata `cfg`. The object carries defaults; the agent changes a field between open and load only
 * where it must. */
struct cv_config {
	__u32 loopback_base;     /* 127.64.0.0, host order */
	__u32 loopback_mask;     /* 0x003fffff: bits that are spread over */
	__u32 no_cgroup_helpers; /* 1 before Linux 6.1: cgroup/sock_addr lacks bpf_set_retval, pid
				  * and comm. A refusal is then a connection to the closed port 0
				  * (connect) or EPERM (sendmsg) */
	__u32 is_uplink_guarded; /* cv_uplink is attached: plaintext arrivals are asked about */
	__u32 is_congestion_own; /* 1: also what stays on this node paces itself as its namespace
				  * wants it, see bpf/lib/congestion.h */
	__u32 share;             /* CV_SHARE_OF_POD */
	__u32 shared_most;       /* CV_SHARED_MOST */
	__u64 host_cookie; /* netns cookie of the node, whose own processes (the kubelet's probes)
			    * reach its pods as they are; 0: none do */
};

_Static_assert(sizeof(struct cv_dest) == 72, "map value layout");
_Static_assert(sizeof(struct cv_tuple) == 48, "map key layout");
_Static_assert(sizeof(struct cv_conn) == 32, "map value layout");
_Static_assert(sizeof(struct cv_vouch) == 8, "map value layout");
_Static_assert(sizeof(struct cv_steer_key) == 20, "map key layout");
_Static_assert(sizeof(struct cv_socket) == 48, "map value layout");
_Static_assert(sizeof(struct cv_passed_key) == 32, "map key layout");
_Static_assert(sizeof(struct cv_passed) == 104, "map value layout");
_Static_assert(sizeof(struct cv_event) == 88, "event layout");
