/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* status - the admin socket: GET /status. Owner: main. Thread: its loop. */
#include "base/loop.h"
#include "base/macros.h"
#include "control.h"
#include "http/server.h"

/** status_serve() - @listen_fd: taken on success. @control: borrowed. Return: 0; -ENOMEM; -errno.
 */
_must_check_ int status_serve(struct loop *loop, int listen_fd, struct control *control,
			      struct http_server **ret);
