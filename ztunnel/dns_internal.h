/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_internal - the inside of the resolver, shared by dns.c and the dns_*.c alone. */
#include <netinet/in.h>
#include <stdbool.h>

#include "base/accept_pause.h"
#include "base/list.h"
#include "base/loop.h"
#include "ztunnel/dns.h"
#include "ztunnel/dns_lookup.h"
#include "ztunnel/dns_metrics.h"
#include "ztunnel/dns_wildcard.h"
#include "ztunnel/dns_wire.h"

#define DNS_TTL_S 30
/* A nameserver that has not answered for so long gets company: the pod's next one is asked too. All
 * together stays below the five seconds that resolvers wait, so that they hear why. */
#define DNS_TRY_US      (1500 * 1000)
#define DNS_TRIES       3
#define DNS_STOCK_MAX   32
#define DNS_BATCH       8
#define DNS_POD_QUERIES 256
#define DNS_ALL_QUERIES 4096
#define DNS_POD_SHARE   16 /* of a pod, however many the others have */
#define DNS_POD_TCP     64
/* Bytes of queries that wait for an answer and of connections' buffers: what a query is made of is
 * up to the pod, and it may have a nameserver of its own that never answers. */
#define DNS_POD_BYTES   ((size_t)1024 * 1024)
#define DNS_ALL_BYTES   ((size_t)16 * 1024 * 1024)
#define DNS_SHARE_BYTES ((size_t)64 * 1024) /* of a pod, however many the others have */
#define DNS_TCP_IDLE_US (10 * 1000 * 1000)

/** struct dns_stats - counters beside those of dns_metrics. */
struct dns_stats {
	uint64_t answered;
	uint64_t dropped;       /* malformed, from outside the pod, or over a limit */
	uint64_t own;           /* asked for the mesh itself, see dns_resolve.c */
	uint64_t own_failures;  /* refused, or not answered in time */
	uint64_t wildcard_full; /* a name below a wildcard, and no address left for it */
};

struct dns {
	struct loop *loop;
	struct dns_config config;
	char cluster_domain[DNS_NAME_SIZE];
	struct state *state;
	struct map *pods;    /* netns cookie -> struct dns_pod */
	struct list leaving; /* struct dns_pod, no more in pods */
	struct map *slots;   /* struct cv_nameserver_slot -> struct cv_addr, allocated */
	struct cv_addr *numbers[CV_MAX_NAMESERVERS + 1]; /* IPv4 nameservers, allocated */
	size_t queries;                                  /* in flight, all pods */
	size_t tcp_queries;                              /* likewise */
	size_t held;                                     /* bytes, all pods */
	struct dns_stats stats;
	struct dns_metrics *metrics;
	struct dns_wildcards *wildcards;
	uint8_t packet[DNS_MESSAGE_MAX]; /* of the turn: received or answered */
	uint8_t answer[DNS_MESSAGE_MAX];
};

/** struct dns_stock - unconnected sockets of one kind and family. */
struct dns_resolver;

struct dns_stock {
	int fds[DNS_STOCK_MAX];
	size_t count;
	uint64_t asked_us; /* 0: no request is out */
};

struct dns_listener {
	struct loop_fd w;
	struct dns_pod *pod;
	uint32_t slot;
};

struct dns_pod {
	struct dns *dns;
	struct list link; /* in dns->leaving */
	struct loop_timer leave;
	bool is_leaving;
	uint64_t netns_cookie;
	struct dns_listener udp[CV_DNS_PORTS];
	struct dns_listener tcp;
	struct accept_pause accept_pause; /* of tcp */
	struct dns_stock udp_stock[2];    /* by enum zds_family */
	struct dns_stock tcp_stock[2];
	struct list queries;
	struct list clients; /* TCP */
	size_t queries_count;
	size_t clients_count;
	size_t held;            /* bytes: dns_hold() */
	char uid[ZDS_UID_SIZE]; /* of its workload */
	char namespace_[64];
	char search[512]; /* backs client.search */
	struct dns_client client;
	struct cv_addr addrs[ZDS_MAX_ADDRS]; /* its own */
	size_t addrs_count;
	struct cv_addr nameservers[ZDS_NAMESERVERS]; /* of its resolv.conf */
	size_t nameservers_count;
	struct dns_resolver *resolver; /* names that the mesh asks for itself; NULL: none yet */
};

/** dns_nameserver_of() - what a number, or a slot of this pod, stands for. Return: borrowed; NULL
 * when not yet known. */
const struct cv_addr *dns_nameserver_of(const struct dns_pod *pod, const struct cv_addr *local,
					uint32_t slot);

/** dns_pod_heir() - who has come in the place of a pod that leaves. Return: borrowed; NULL. */
struct dns_pod *dns_pod_heir(const struct dns_pod *pod);

/** dns_stock_take() - Return: a descriptor, the caller's; -EAGAIN: asked for, try again from
 * dns_pod_retry(); -ENETDOWN: none will come. */
int dns_stock_take(struct dns_pod *pod, bool is_tcp, const struct cv_addr *nameserver);

/** dns_stock_has() - is there one to take, or will none come? Asks for more when not. */
bool dns_stock_has(struct dns_pod *pod, bool is_tcp, const struct cv_addr *nameserver);
/** dns_stock_drop() - close them. */
void dns_stock_drop(struct dns_stock *s);

/** dns_hold() - @n bytes more for this pod, until dns_let_go(). Return: 0; -ENOBUFS: over a limit.
 */
_must_check_ int dns_hold(struct dns_pod *pod, size_t n);
/** dns_hold_new() - the same for what is new: not when memory is short, either. */
_must_check_ int dns_hold_new(struct dns_pod *pod, size_t n);
void dns_let_go(struct dns_pod *pod, size_t n);

/**
 * dns_try_answer() - answer from the snapshot
 * @ret_len: of dns->answer.
 * Return: 0; -ENOENT: to be forwarded; -EBADMSG: to be dropped.
 */
int dns_try_answer(struct dns_pod *pod, const struct dns_request *query, size_t *ret_len);

/**
 * dns_substitute() - an address of the mesh's in place of those that a nameserver has found for a
 * name below a wildcard
 * @query: that was forwarded; @reply: to it, at least DNS_HEADER_LEN.
 * Return: length in dns->answer; 0: the reply is to be passed on as it is.
 */
size_t dns_substitute(struct dns_pod *pod, const struct dns_request *query, const uint8_t *reply);

/** dns_request_of() - a query of this pod, for the metrics; borrows. */
struct dns_request dns_request_of(const struct dns_pod *pod, const uint8_t *packet, size_t len,
				  bool is_tcp);

/** dns_fail() - write SERVFAIL into dns->answer, and count it. Return: its length; 0 when it is no
 * query. */
size_t dns_fail(struct dns *d, const struct dns_request *r);

/**
 * dns_server() - whom to ask at the @nth try
 * @asked: by the application, first; then the others of the pod's resolv.conf; then again.
 * Return: borrowed.
 */
const struct cv_addr *dns_server(const struct dns_pod *pod, const struct cv_addr *asked,
				 unsigned int nth);
/** dns_tries() - how often a query may be sent: one that changes something, or asks for a zone,
 * once. */
unsigned int dns_tries(const uint8_t *packet, size_t len);

/* dns_resolve.c */
void dns_resolver_retry(struct dns_pod *pod);
struct dns_resolver *dns_resolver_free(struct dns_resolver *r);
/* dns_udp.c */
void dns_udp_on_event(struct loop_fd *w, uint32_t events);
void dns_udp_retry(struct dns_pod *pod); /* sockets or a nameserver have come */
void dns_udp_fail_all(struct dns_pod *pod);
/* dns_tcp.c */
void dns_tcp_on_accept(struct loop_fd *w, uint32_t events);
void dns_tcp_retry(struct dns_pod *pod);
void dns_tcp_fail_all(struct dns_pod *pod);
