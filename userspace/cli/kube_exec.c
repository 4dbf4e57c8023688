/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_exec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin.h"
#include "base/str.h"
#include "json.h"
#include "kube_stream.h"
#include "source/kube_json.h"

enum channel { CHANNEL_OUT = 1, CHANNEL_ERR = 2, CHANNEL_STATUS = 3 };

/** struct session - one command under way. */
struct session {
	const struct kube_stream_config *stream;
	struct kube_exec_result *result;
	json_t *status; /* the last message; NULL: not yet */
};

static int on_data(void *arg, uint8_t channel, const uint8_t *data, size_t len)
{
	struct session *s = arg;

	if (channel == CHANNEL_OUT)
		return buf_append(&s->result->out, data, len);
	if (channel == CHANNEL_ERR)
		return buf_append(&s->result->err, data, len);
	if (channel == CHANNEL_STATUS && !s->status)
		s->status = kube_json_load((const char *)data, len);
	return 0;
}

static int path_make(const struct kube_exec *what, struct buf *path)
{
	int r = buf_printf(path,
			   "/api/v1/namespaces/%s/pods/%s/exec?container=%s&stdout=true"
			   "&stderr=true",
			   what->namespace_, what->pod, what->container);

	for (const char *const *word = what->command; *word && r == 0; word++) {
		_cleanup_(freep) char *one = admin_escape(*word);

		r = one ? buf_printf(path, "&command=%s", one) : -ENOMEM;
	}
	return r < 0 ? r : buf_append(path, "", 1);
}

static int run(const struct kube *k, struct session *s)
{
	_cleanup_(kube_stream_closep) struct kube_stream *stream = NULL;
	int r = kube_stream_open(k, s->stream, &stream);

	if (r < 0)
		return r;
	r = 1;
	while (r > 0 && !s->status)
		r = kube_stream_turn(stream);
	if (r < 0)
		return r;
	return s->status ? 0
			 : kube_stream_say(s->stream, -ECONNRESET,
					   "the connection ended without a status");
}

/* code_of() - {"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":
 * "ExitCode","message":"7"}]}} */
static int code_of(struct session *s)
{
	const json_t *causes = json_object_get(json_object_get(s->status, "details"), "causes");
	const json_t *cause;
	size_t i;

	if (streq(json_text(s->status, "status", ""), "Success"))
		return 0;
	json_array_foreach (causes, i, cause)
		if (streq(json_text(cause, "reason", ""), "ExitCode")) {
			uint64_t code;

			if (str_parse_u64(json_text(cause, "message", ""), 0, 255, &code) == 0) {
				s->result->code = (int)code;
				return 0;
			}
		}
	return kube_stream_say(s->stream, -EIO, json_text(s->status, "message", "exec failed"));
}

int kube_exec(const struct kube *k, const struct kube_exec *what, struct kube_exec_result *ret,
	      char *err, size_t err_size)
{
	_cleanup_(buf_resetp) struct buf path = {0};
	struct session s = {.result = ret};
	struct kube_stream_config stream = {
		.protocols = "v5.channel.k8s.io, v4.channel.k8s.io",
		.what = "exec",
		.timeout_us = what->timeout_us ? what->timeout_us : KUBE_EXEC_TIMEOUT_US,
		.on_data = on_data,
		.arg = &s,
		.err = err,
		.err_size = err_size,
	};
	int r = path_make(what, &path);

	*err = '\0';
	ret->out.limit = ret->err.limit = KUBE_EXEC_OUTPUT_MAX;
	stream.path = (const char *)buf_head(&path);
	s.stream = &stream;
	if (r == 0)
		r = run(k, &s);
	if (r == 0)
		r = code_of(&s);
	if (r < 0 && !*err)
		(void)kube_stream_say(&stream, r, strerror(-r));
	json_decref(s.status);
	return r;
}
