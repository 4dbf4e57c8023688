/* SPDX-License-Identifier: Apache-2.0 */
#include "webhook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "admission.h"

#define CROWD_US 1000000

#define BODIES_MAX (16u << 20) /* of all requests at a time: the API server tries again */

static void on_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	struct validations *seen = arg;
	struct admission_subject subject;
	char *text = NULL;
	int r;

	if (!streq(req->path, "/validate")) {
		resp->status = 404;
		return;
	}
	if (!streq(req->method, "POST")) {
		resp->status = 405;
		return;
	}
	r = admission_review(req->body, req->body_len, &subject, &text);
	if (r == 0)
		validations_count(seen, &subject);
	else
		seen->malformed += r == -EBADMSG;
	if (r == 0)
		r = buf_append_str(&resp->body, text);
	resp->content_type = "application/json";
	if (r < 0) {
		buf_reset(&resp->body);
		resp->content_type = "text/plain; charset=utf-8";
		resp->status = r == -EBADMSG ? 400 : 500;
		(void)buf_printf(&resp->body, "expected an AdmissionReview\n");
	}
	free(text);
}

int webhook_serve(const struct webhook_config *config, struct http_server **ret)
{
	const struct http_server_config http = {
		.loop = config->loop,
		.listen_fd = config->listen_fd,
		.handler = on_request,
		.arg = config->seen,
		.ssl_new = config->ssl_new,
		.ssl_arg = config->ssl_arg,
		.is_crowd_cut = true,
		.crowd_us = CROWD_US,
		.body_max = ADMISSION_BODY_MAX,
		.total_max = BODIES_MAX,
	};

	return http_server_open(&http, ret);
}
