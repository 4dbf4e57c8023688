/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* readiness - what the kubelet asks on a port of its own, as of istiod: GET /ready, 200 while
 * the mesh is known and served, else 503 and why not; GET /live, 200 as long as the event loop
 * turns. Owner: main. Thread: its loop. */
#include <stdint.h>

#include "base/loop.h"
#include "base/macros.h"
#include "http/server.h"

struct control; /* control.h */

/** readiness_serve() - on every address, from now on: whoever still waits for the API server is
 * alive. @port: host order; 0: nowhere. @control: borrowed; what it points to is NULL until there
 * is one. Return: 0; -EADDRINUSE and other errors of tcp_listen_any(), -ENOMEM: logged. */
_must_check_ int readiness_serve(struct loop *loop, uint16_t port, struct control *const *control,
				 struct http_server **ret);
