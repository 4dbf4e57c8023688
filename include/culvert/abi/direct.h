/* SPDX-License-Identifier: (Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)) */
#pragma once
/* direct - keys, values and events of connections between pods of one node that need no tunnel.
 * Part of maps.h. */
#include "addr.h"

#define CV_FRONTEND_ENDS 16

/* The chance to be chosen is what weight_end adds to the one before. */
struct cv_frontend_end {
	struct cv_sockaddr to;
	__u32 weight_end;
};

/* cv_frontends: struct cv_service_key -> the endpoints of a frontend that are pods of this node,
 * and how much of it is elsewhere. */
struct cv_frontend {
	__u16 count; /* 1..CV_FRONTEND_ENDS */
	/* The last bits of the second (bpf_ktime_get_ns()) in which one of several refused, the
	 * programs' own: for a while ztunnel chooses, which tries another at once. 0: none has. */
	__u16 refused_s;
	__u32 weight; /* of all endpoints: what the last weight_end lacks of it is elsewhere */
	struct cv_frontend_end ends[CV_FRONTEND_ENDS];
};

#define CV_FRONTEND_REST_S 30

/* cv_locals: struct cv_addr -> __u64 netns cookie of the enrolled pod of this node whose own it is.
 */

/* cv_verdicts: what ztunnel says of the L4 policy, also where an end wants a tunnel. A namespace
 * cookie stands for the source's
 * identity and for the destination workload: the kernel proves it, and it is never reused. */
#define CV_SRC_ANYONE 0 /* as src_cookie: whoever comes in plaintext */

struct cv_verdict_key {
	__u64 src_cookie;
	__u64 dst_cookie;
	__be16 port;
	__u16 zero[3];
};

struct cv_verdict {
	__u64 generation; /* counts while it is cv_generation's */
	__u32 is_allowed;
	__u32 is_ztunnels; /* neither: more than the L4 policy has a say, so ztunnel has each one */
};

/* cv_denied (LRU): a source outside the mesh that a policy denies by its address, once it has tried
 * -> __u64 generation; counts while it is cv_generation's. */
struct cv_denied_key {
	struct cv_addr src;
	__u64 dst_cookie;
	__be16 port;
	__u16 zero[3];
};

/* cv_generation (ARRAY of one): __u64, raised by the agent when a policy or a pod changes. */

enum cv_direct_flags {
	CV_DIRECT_ESTABLISHED = 1 << 0,   /* the client has seen it */
	CV_DIRECT_ACCEPTED = 1 << 1,      /* and the server; until then the SYN is vouched for */
	CV_DIRECT_TURNED = 1 << 2,        /* the client is the key's remote end */
	CV_DIRECT_SHORT_SYN = 1 << 4,     /* its SYNs skip the host's stack, too */
	CV_DIRECT_CLIENT_CLOSED = 1 << 5, /* what still closes the other takes the same way */
	CV_DIRECT_SERVER_CLOSED = 1 << 6,
	CV_DIRECT_ANSWERED = 1 << 7, /* the server's link has seen its SYN-ACK: answer_seq */
	CV_DIRECT_LET_IN = 1 << 8, /* its SYN, to the server's socket, which may wait for an ACK */
	CV_DIRECT_SELF_GIVEN = 1 << 9, /* the client's address is none that the mesh knows it by */
	CV_DIRECT_RESET = 1 << 10,     /* of an event: an established one ended by a reset */
};

/* Where packets to an end go. */
struct cv_way {
	__u32 ifindex; /* host's end of its link */
	__u8 macs[12]; /* as on a packet to the pod: the pod's, then the host's */
};

/* cv_directs: struct cv_tuple, cookie 0, the one of its two ways to be told for which
 * cv_tuple_is_first() -> a direct connection, all that is kept of it: one look-up for every
 * question. Lives from the client's connect until both ends have closed. */
struct cv_direct {
	__u64 src_cookie;
	__u64 dst_cookie;
	__u64 time_ns; /* of connect */
	struct cv_sockaddr asked;
	__u32 flags; /* enum cv_direct_flags */
	__be32 answer_seq;
	__u32 zero;
	struct cv_way to_client;
	struct cv_way to_server;
};

/* cv_direct_told: key of cv_directs -> how much of what a connection has carried is in ztunnel's
 * metrics. Only of those that were counted while they are open. The agent's alone: no program looks
 * at it. */
struct cv_direct_told {
	__u64 time_ns; /* of connect: which of the connections that have this key */
	__u64 sent;    /* client to server, bytes */
	__u64 received;
	__u64 gone_ns; /* found without its entry in cv_directs; 0: not yet */
};

/* cv_direct_untold: beginnings and ends that found no room in cv_direct_events: numbers only. The
 * agent takes the entries out. */
struct cv_untold_key {
	__u64 src_cookie;
	__u64 dst_cookie;
	struct cv_sockaddr dst;
	struct cv_sockaddr asked; /* as in struct cv_direct */
};

struct cv_untold {
	__u64 opened;
	__u64 closed;
	__u64 failed;   /* was never established */
	__u64 sent;     /* of those closed, client to server: bytes that cv_direct_told has not */
	__u64 received; /* and back */
};

/* cv_refused: struct cv_untold_key -> __u64, how many connections of a known denial connect(2) has
 * refused. The agent takes the entries out. */

/* cv_direct_events (RINGBUF): DIRECT_OPEN, DIRECT_CLOSE. Also in cv_events: VERDICT_MISS. */
struct cv_direct_event {
	__u64 time_ns;
	__u64 netns_cookie; /* the client's */
	__u32 reason;
	__u32 flags;               /* ESTABLISHED, ACCEPTED, RESET */
	struct cv_sockaddr local;  /* the client's; MISS: of anyone, who came; else nothing */
	struct cv_sockaddr remote; /* the endpoint */
	struct cv_sockaddr asked;  /* what the application asked for */
	__u32 error; /* CLOSE: the socket's errno, where never established connect's; 0: none */
	__u64 dst_cookie;
	__u64 connect_ns;
	__u64 sent;       /* CLOSE: bytes of data, client to server */
	__u64 received;   /* CLOSE: and back */
	__u64 generation; /* MISS */
};

_Static_assert(sizeof(struct cv_frontend) == 392, "map value layout");
_Static_assert(sizeof(struct cv_verdict_key) == 24, "map key layout");
_Static_assert(sizeof(struct cv_denied_key) == 32, "map key layout");
_Static_assert(sizeof(struct cv_verdict) == 16, "map value layout");
_Static_assert(sizeof(struct cv_direct) == 88, "map value layout");
_Static_assert(sizeof(struct cv_direct_told) == 32, "map value layout");
_Static_assert(sizeof(struct cv_untold_key) == 56, "map key layout");
_Static_assert(sizeof(struct cv_untold) == 40, "map value layout");
_Static_assert(sizeof(struct cv_direct_event) == 128, "event layout");
