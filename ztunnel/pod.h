/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pod - an enrolled pod of this node as the agent described it: immutable, counted, shared by all
 * threads. Its listeners are counted apart, so that they close at release while live connections
 * keep the pod. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/zds.h"

struct state;
struct workload;

/* Listeners that workers watch; those of DNS belong to dns.c. */
#define POD_LISTENERS (CV_OUTBOUND_PORTS + 2)

struct listener_set {
	atomic_uint refs;
	int fds[POD_LISTENERS]; /* in the order of enum zds_listener */
};

struct pod {
	atomic_uint refs;
	uint64_t netns_cookie;
	uint32_t flags;       /* enum cv_pod_flags */
	uint32_t incarnation; /* 0: not known */
	uint32_t addr_count;
	struct cv_addr addrs[ZDS_MAX_ADDRS];
	uint16_t own_ports[ZDS_LISTENERS]; /* host order; what ztunnel itself listens on there */
	uint32_t own_port_count;
	char uid[ZDS_UID_SIZE];
	char namespace_[64];
	char name[256];
	char service_account[256];
};

/**
 * pod_new() - from ZDS_POD_ADD.
 * @m:   checked here: strings ended, counts in range.
 * @fds: ZDS_LISTENERS descriptors, borrowed: their ports are remembered.
 * Return: 0; -EBADMSG; -ENOMEM.
 */
_must_check_ int pod_new(const struct zds_pod_add *m, const int *fds, struct pod **ret);
struct pod *pod_ref(struct pod *p);
/** pod_unref() - any thread; takes NULL. Return: NULL. */
struct pod *pod_unref(struct pod *p);
DEFINE_CLEANUP(struct pod *, pod_unref);
/** listener_set_new() - @fds: POD_LISTENERS descriptors, taken on success. Return: NULL when out of
 * memory. */
struct listener_set *listener_set_new(const int *fds);
struct listener_set *listener_set_ref(struct listener_set *l);
/** listener_set_unref() - the last one closes them. Takes NULL. Return: NULL. */
struct listener_set *listener_set_unref(struct listener_set *l);

/** pod_workload() - state_pod(): what the mesh says of it. Return: borrowed; NULL when unknown. */
const struct workload *pod_workload(const struct state *s, const struct pod *p);
/** pod_has_addr() - is this one of the pod's own addresses? */
bool pod_has_addr(const struct pod *p, const struct cv_addr *a);
/** pod_is_own_port() - is this a port of ztunnel's in the pod (15008 included)? @port in host
 * order. */
bool pod_is_own_port(const struct pod *p, uint16_t port);
