/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* sockets - make the sockets that ztunnel gets: listeners at enrolment, unconnected ones for
 * dialling. Each call works in the network namespace that the process is in (see netns_call()).
 * Every socket is marked with its kind before it can be used, so that there is no moment in which
 * it passes as a socket of the pod's. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/zds.h"

/** struct sockets_marker - how a socket gets its kind. Tests without BPF give one that does
 * nothing. */
struct sockets_marker {
	int (*mark)(void *arg, int fd, enum cv_socket_kind kind); /* 0; -errno */
	void *arg;
};

/* Where listeners are, of those that Istio has for itself in a pod; any other where an application
 * has all of these. */
#define SOCKETS_PORT_FIRST 15040
#define SOCKETS_PORT_LAST  15079

/** struct listeners - what one pod's ztunnel listens on, in the order of enum zds_listener. */
struct listeners {
	int fds[ZDS_LISTENERS]; /* owned; -EBADF when closed */
	uint16_t outbound_ports[CV_OUTBOUND_PORTS];
	uint16_t dns_udp_ports[CV_DNS_PORTS];
	uint16_t dns_tcp_port;
};

/** listeners_init() - all closed. */
void listeners_init(struct listeners *l);

/** listeners_open() - make all of them. @ret must be closed; untouched on failure. Return: 0;
 * -errno. */
_must_check_ int listeners_open(const struct sockets_marker *m, struct listeners *ret);

/** listeners_close() - close what is open: ztunnel has its own descriptors. */
void listeners_close(struct listeners *l);

/**
 * sockets_dial() - unconnected, non-blocking sockets to dial with.
 * @kind:   DIAL_APP, DIAL_HBONE, DIAL_PLAIN (TCP) or DNS (UDP).
 * @count:  1..ZDS_MAX_FDS.
 * @ret:    @count descriptors, owned by the caller.
 * Return: 0; -EINVAL; -errno of socket(2) or of the mark, nothing is left open then.
 */
_must_check_ int sockets_dial(const struct sockets_marker *m, enum cv_socket_kind kind,
			      enum zds_family family, unsigned int count, int *ret);
