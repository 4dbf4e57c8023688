/* SPDX-License-Identifier: Apache-2.0 */
#include "readiness.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "control.h"
#include "net/tcp.h"

/* @why: it is not; NULL: it is, and @but: not for all. */
static void answer_ready(struct http_response *resp, const char *why, const char *but)
{
	http_response_text(resp, why ? 503 : 200, why ? why : but ? but : "ready");
	if (buf_append_str(&resp->body, "\n") < 0)
		resp->status = 500;
}

static void on_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	struct control *const *control = arg;
	const char *why = *control ? control_unready(*control) : "the mesh is not known yet";

	if (!streq(req->method, "GET"))
		http_response_text(resp, 405, "only GET\n");
	else if (streq(req->path, "/live"))
		http_response_text(resp, 200, "live\n");
	else if (!streq(req->path, "/ready"))
		http_response_text(resp, 404, "there are /ready and /live\n");
	else
		answer_ready(resp, why, *control ? control_stale(*control) : NULL);
}

int readiness_serve(struct loop *loop, uint16_t port, struct control *const *control,
		    struct http_server **ret)
{
	struct http_server_config config = {.loop = loop,
					    .handler = on_request,
					    .arg = (void *)(uintptr_t)control,
					    .is_crowd_cut = true};
	_cleanup_(close_fdp) int fd = -EBADF;
	int r = port ? tcp_listen_any(port, &fd) : 0;

	config.listen_fd = fd;
	if (port && r == 0)
		r = http_server_open(&config, ret);
	if (r < 0)
		return log_error_errno("control", r, "cannot listen port=%u", port);
	(void)TAKE_FD(fd);
	return 0;
}
