/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* status - the admin socket, and its like on a port: GET /status. Owner: main. Thread: its loop. */
#include <stdint.h>

#include "base/loop.h"
#include "base/macros.h"
#include "control.h"
#include "http/server.h"

/** status_serve() - @listen_fd: taken on success. @port: on loopback, too, where nobody else may be
 * who is not to know; 0: not. @control: borrowed. @ret: one each. Return: 0; -ENOMEM; -errno. */
_must_check_ int status_serve(struct loop *loop, int listen_fd, uint16_t port,
			      struct control *control, struct http_server *ret[2]);
