/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* inbound - what arrives for a pod of this node: tunnels from other ztunnels and waypoints on
 * 15008, and plaintext that nobody vouched for. Each stream, and each plaintext connection, is
 * checked against policy and delivered to the application, which sees the client's own address.
 * Everything frees itself. Thread: its worker's. */
#include <stdint.h>

#include "culvert/abi/addr.h"

struct pod;
struct worker;

/** inbound_tunnel_start() - a TCP connection on the HBONE listener. @fd: taken. @local: the pod's
 * address it came to. */
void inbound_tunnel_start(struct worker *w, struct pod *pod, int fd, const struct cv_sockaddr *peer,
			  const struct cv_sockaddr *local);
/** inbound_plain_start() - a TCP connection on the plaintext listener. @fd: taken. @local: what the
 * client dialled. */
void inbound_plain_start(struct worker *w, struct pod *pod, int fd, const struct cv_sockaddr *peer,
			 const struct cv_sockaddr *local);
/** inbound_on_trust() - other revocation lists or trust domains: cut every tunnel whose peer is no
 * longer accepted, and what is in it. */
void inbound_on_trust(struct worker *w);
/** inbound_drain() - GOAWAY on every tunnel from a peer. */
void inbound_drain(struct worker *w);
/** inbound_drain_pod() - the same for the tunnels to one pod, which has left the mesh: what is open
 * in them goes on, and peers that come back to it later ask for a tunnel anew. */
void inbound_drain_pod(struct worker *w, uint64_t netns_cookie);
/** inbound_close_all() - the worker ends: close every tunnel from a peer. */
void inbound_close_all(struct worker *w);
