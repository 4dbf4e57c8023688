/* SPDX-License-Identifier: Apache-2.0 */
#include "status.h"

#include <stdlib.h>
#include <string.h>

static void answer_text(struct http_response *resp, unsigned int status, const char *text)
{
	resp->status = status;
	if (buf_append_str(&resp->body, text) < 0)
		resp->status = 500;
}

static void answer_status(struct http_response *resp, struct control *control)
{
	json_t *json = control_status(control);
	_cleanup_(freep) char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;

	json_decref(json);
	if (!text) {
		answer_text(resp, 500, "out of memory\n");
		return;
	}
	resp->content_type = "application/json";
	answer_text(resp, 200, text);
	if (buf_append_str(&resp->body, "\n") < 0)
		resp->status = 500;
}

static void on_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	if (!streq(req->method, "GET") && !streq(req->method, "HEAD"))
		answer_text(resp, 405, "only GET\n");
	else if (streq(req->path, "/status"))
		answer_status(resp, arg);
	else
		answer_text(resp, 404, "there is only /status\n");
}

int status_serve(struct loop *loop, int listen_fd, struct control *control,
		 struct http_server **ret)
{
	return http_server_new(loop, listen_fd, on_request, control, ret);
}
