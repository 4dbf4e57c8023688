/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* zds - what agent and ztunnel say to each other over a UNIX SOCK_SEQPACKET socket, one message per
 * packet, descriptors in SCM_RIGHTS. Both run on one machine from one build: host byte order, fixed
 * layouts, the version checked in HELLO. The agent listens; ztunnel connects. The agent checks
 * SO_PEERCRED (ztunnel's user, or root); ztunnel likewise (root). Anything malformed closes the
 * connection. */
#include <stdint.h>

#include "culvert/abi/maps.h"

#define ZDS_VERSION     10
#define ZDS_MAX_MESSAGE 65536
#define ZDS_MAX_FDS     64
#define ZDS_MAX_ADDRS   8
#define ZDS_NAMESERVERS 3 /* as many as a resolver reads: resolv.conf(5), MAXNS */
/* Of a workload: a cluster's name, a namespace of 63 and a pod of 253 characters, and what stands
 * between. */
#define ZDS_UID_SIZE 384

enum zds_type {
	ZDS_HELLO = 1, /* both ways, first: struct zds_hello */
	ZDS_POD_ADD,   /* agent -> ztunnel: struct zds_pod_add + ZDS_LISTENERS fds */
	ZDS_POD_DEL, /* agent -> ztunnel: struct zds_pod_ref. Listeners are closed, live connections
			stay */
	ZDS_POD_ACK, /* ztunnel -> agent: struct zds_pod_ref, error 0 or errno: capture starts after
			it */
	ZDS_SYNCED,  /* agent -> ztunnel: header only; every pod of the moment has been sent, and
			each  ACK has come */
	ZDS_NEED, /* ztunnel -> agent: struct zds_sockets, no fds: send `count` more of this kind */
	ZDS_SOCKETS,    /* agent -> ztunnel: struct zds_sockets + `count` unconnected, non-blocking
			   sockets */
	ZDS_NAMESERVER, /* agent -> ztunnel: struct zds_nameserver */
	ZDS_METRICS, /* agent -> ztunnel: OpenMetrics text (no EOF line), replaces the last; every
			few seconds */
	ZDS_VERDICT_ASK, /* agent -> ztunnel: struct zds_verdict; what does the L4 policy say? */
	ZDS_VERDICT,     /* ztunnel -> agent: struct zds_verdict, the answer */
	ZDS_POLICY, /* ztunnel -> agent: header only, once it has been asked: answers may be others
		       now */
	ZDS_DIRECT, /* agent -> ztunnel: one or more struct zds_direct, for metrics and the access
		       log */
	ZDS_DIRECT_ASK,  /* ztunnel -> agent: struct zds_direct_ask; which are open? */
	ZDS_DIRECT_PAGE, /* agent -> ztunnel: struct zds_direct_page, some of them */
	ZDS_TYPE_MAX,
};

struct zds_header {
	uint32_t type; /* enum zds_type */
	uint32_t len;  /* of the whole message, header included */
};

struct zds_hello {
	struct zds_header h;
	uint32_t version; /* ZDS_VERSION */
	uint32_t zero;
	char node[64];
};

/* Order of the listeners' descriptors in ZDS_POD_ADD. TCP ones are listening; all are non-blocking
 * and AF_INET6 dual-stack (AF_INET where the kernel has no IPv6; then the further outbound and DNS
 * ones are /dev/null descriptors). */
enum zds_listener {
	ZDS_LISTEN_OUTBOUND = 0, /* CV_OUTBOUND_PORTS of them */
	ZDS_LISTEN_PLAIN = CV_OUTBOUND_PORTS,
	ZDS_LISTEN_HBONE,
	ZDS_LISTEN_DNS_TCP,
	ZDS_LISTEN_DNS_UDP, /* CV_DNS_PORTS of them, IP_PKTINFO and IPV6_RECVPKTINFO on */
	ZDS_LISTENERS = ZDS_LISTEN_DNS_UDP + CV_DNS_PORTS,
};

struct zds_pod_ref {
	struct zds_header h;
	uint64_t netns_cookie;
	int32_t error; /* ZDS_POD_ACK: 0 or a positive errno */
	uint32_t zero;
};

struct zds_pod_add {
	struct zds_header h;
	uint64_t netns_cookie;
	char uid[ZDS_UID_SIZE]; /* workload uid as in xDS: "<cluster>//Pod/<ns>/<name>" */
	char namespace_[64];    /* RFC 1123 label */
	char name[256];         /* pod */
	char service_account[256];
	uint32_t addr_count;                 /* 1..ZDS_MAX_ADDRS */
	uint32_t flags;                      /* enum cv_pod_flags as captured */
	struct cv_addr addrs[ZDS_MAX_ADDRS]; /* the pod's addresses; [0] is the primary one */
	uint16_t outbound_ports[CV_OUTBOUND_PORTS];
	uint16_t dns_udp_ports[CV_DNS_PORTS];
	uint16_t dns_tcp_port;
	uint16_t has_resolv_conf; /* 1: the agent could read the pod's own resolv.conf: search is
				     its list, which may be empty */
	uint16_t zero[3];
	char search[512]; /* domains, NUL-separated */
	/* of the pod's resolv.conf, else of the node's, in their order */
	uint32_t nameserver_count;
	uint32_t incarnation; /* as culvert.node.Workload's; 0: not known */
	struct cv_addr nameservers[ZDS_NAMESERVERS];
};

enum zds_family {
	ZDS_INET = 0,
	ZDS_INET6 = 1,
};

struct zds_sockets {
	struct zds_header h;
	uint64_t netns_cookie;
	uint32_t kind;   /* enum cv_socket_kind: DIAL_APP, DIAL_HBONE, DIAL_PLAIN; DNS gives UDP
			    sockets */
	uint32_t family; /* enum zds_family */
	uint32_t count;  /* 1..ZDS_MAX_FDS */
	uint32_t
		error; /* ZDS_SOCKETS: 0, or why there are none (positive errno; count is then 0) */
};

struct zds_nameserver {
	struct zds_header h;
	uint64_t netns_cookie; /* 0 for an IPv4 nameserver: the number holds for every pod */
	uint32_t number;       /* IPv4: 127.64.0.0 + number is this nameserver */
	uint32_t slot;         /* IPv6: index into dns_udp_ports of that pod */
	struct cv_addr addr;
};

enum zds_verdict_kind {
	ZDS_VERDICT_NONE = 0, /* not known yet: the next connection asks again */
	ZDS_VERDICT_ALLOW,
	ZDS_VERDICT_DENY,
	ZDS_VERDICT_ZTUNNELS, /* to be cached, too: more than the L4 policy has a say, so such
				 connections keep going through ztunnel */
};

/* What is asked about. */
enum zds_open {
	ZDS_OPEN_NOT = 0,       /* connections to come */
	ZDS_OPEN_LIVE,          /* one that is open, from `src` */
	ZDS_OPEN_LEFT,          /* the same, and its client's pod has left the mesh since */
	ZDS_OPEN_LEFT_NAMELESS, /* and `src` was an address that the pod had given itself: it says
				   nothing of who that was */
};

/* May the pod of one namespace connect to a pod of the same node? */
struct zds_verdict {
	struct zds_header h;
	uint64_t src_cookie;
	uint64_t dst_cookie;
	uint64_t generation;    /* the agent's; comes back as it was */
	struct cv_sockaddr dst; /* the pod's address, application's port */
	struct cv_addr src;     /* src_cookie CV_SRC_ANYONE: who came; open: the client's address */
	uint32_t verdict;       /* enum zds_verdict_kind; 0 in ASK */
	uint32_t is_of_src;     /* it holds for `src` only, open: for what is open now; 0 in ASK */
	uint32_t open;          /* enum zds_open */
};

enum zds_direct_what {
	ZDS_DIRECT_OPENED = 0,
	ZDS_DIRECT_CLOSED,
	ZDS_DIRECT_FAILED,   /* was never established */
	ZDS_DIRECT_PROGRESS, /* open for some seconds, and has carried more */
	ZDS_DIRECT_UNTOLD, /* several, of which nothing else is known: no `src`, no bytes of one */
	ZDS_DIRECT_RESET,  /* CLOSED, by a reset, whichever end's */
	ZDS_DIRECT_CUT,    /* CLOSED, by the agent, because it is denied now */
	ZDS_DIRECT_DENIED, /* several that connect(2) has refused, by a known denial: no `src` */
};

struct zds_direct {
	struct zds_header h;
	uint64_t src_cookie;
	uint64_t dst_cookie;
	union {
		uint64_t opened_us; /* CLOCK_MONOTONIC */
		uint64_t opened;    /* UNTOLD: how many */
		uint64_t denied;    /* DENIED: how many */
	};
	union {
		uint64_t sent;   /* CLOSED, RESET, CUT, PROGRESS: client to server, in bytes */
		uint64_t closed; /* UNTOLD: how many, failed ones not among them */
		uint64_t lines;  /* DENIED: how many of them are to be logged, each */
	};
	union {
		uint64_t received; /* and back */
		uint64_t failed;   /* UNTOLD: how many */
	};
	union {
		uint64_t new_sent; /* in bytes: what has not been told before */
		uint64_t error;    /* FAILED: positive errno of connect; 0: its client gave up */
	};
	uint64_t new_received;
	struct cv_sockaddr src;
	struct cv_sockaddr dst;
	struct cv_sockaddr asked; /* by the application: dst, or a service frontend */
	uint32_t what;            /* enum zds_direct_what */
};

struct zds_direct_ask {
	struct zds_header h;
	uint64_t id; /* ztunnel's; comes back as it was */
	uint32_t at; /* 0 at first, then `next` of the page before */
	uint32_t zero;
};

struct zds_direct_page {
	struct zds_header h;
	uint64_t id;
	uint32_t next;            /* where the next page begins; 0: this was the last */
	uint32_t count;           /* may be 0 */
	struct zds_direct open[]; /* PROGRESS, with the bytes that have been told; nothing is new */
};
