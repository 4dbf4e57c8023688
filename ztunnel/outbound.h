/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* outbound - a connection that a pod of this node opened and that was captured: resolve, then a
 * stream in a tunnel, or plain TCP to what is not in the mesh. Frees itself. Thread: its worker's.
 */
#include "culvert/abi/addr.h"

struct hbone_session;
struct pod;
struct worker;

/**
 * outbound_start() - serve an accepted connection
 * @fd:       taken.
 * @original: where the application wanted to go, as accept4(2) on the listener showed it; port 0:
 * unknown, refused.
 */
void outbound_start(struct worker *w, struct pod *pod, int fd, const struct cv_sockaddr *original);

/** outbound_cut_session() - the server of a tunnel is no longer accepted: cut what goes through it.
 * @error, @text: of hbone_tunnel_refusal(). */
void outbound_cut_session(struct hbone_session *s, int error, const char *text);
