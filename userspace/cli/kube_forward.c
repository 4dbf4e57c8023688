/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_forward.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "kube_stream.h"

#define HEAD_MAX   8192
#define STATUS_MIN 100
#define STATUS_MAX 999
#define TROUBLE    400

/* Of the one port that is asked for. */
enum channel { CHANNEL_DATA = 0, CHANNEL_ERROR = 1, CHANNELS };

/** struct forward - one request under way. */
struct forward {
	const struct kube_stream_config *stream;
	size_t ports_left[CHANNELS]; /* each channel begins with the number of its port */
	struct buf *in;              /* the answer; once its head was read only the body */
	char trouble[TROUBLE];       /* what the kubelet has to say */
	int status;                  /* 0: the head is not whole yet */
	uint64_t body_len;
};

/* head_read() - our servers say how long an answer is, and wait for us to end the connection.
 * Return: 0; -EBADMSG. */
static int head_read(struct forward *f)
{
	static const char version[] = "HTTP/1.1 ", length[] = "\r\nContent-Length: ";
	const uint8_t *start = buf_head(f->in);
	const uint8_t *end = memmem(start, buf_len(f->in), "\r\n\r\n", 4);
	char head[HEAD_MAX + 1], *value;
	size_t n = end ? (size_t)(end - start) + 2 : buf_len(f->in);
	uint64_t status;

	if (n > HEAD_MAX)
		return -EBADMSG;
	if (!end)
		return 0;
	memcpy(head, start, n);
	head[n] = '\0';
	value = strcasestr(head, length);
	if (!value || !str_has_prefix(head, version))
		return -EBADMSG;
	value += strlen(length);
	value[strcspn(value, "\r")] = '\0';
	if (str_parse_u64(value, 0, KUBE_FORWARD_ANSWER_MAX, &f->body_len) < 0)
		return -EBADMSG;
	value = head + strlen(version);
	value[strcspn(value, " \r")] = '\0';
	if (str_parse_u64(value, STATUS_MIN, STATUS_MAX, &status) < 0)
		return -EBADMSG;
	f->status = (int)status;
	buf_consume(f->in, n + 2);
	return 0;
}

static int data_take(struct forward *f, const uint8_t *data, size_t len)
{
	int r = buf_append(f->in, data, len);

	if (r == 0 && f->status == 0)
		r = head_read(f);
	return r == -EBADMSG ? kube_stream_say(f->stream, r, "the answer is no HTTP") : r;
}

static int on_data(void *arg, uint8_t channel, const uint8_t *data, size_t len)
{
	struct forward *f = arg;
	size_t n;

	if (channel >= CHANNELS)
		return 0;
	n = MIN(len, f->ports_left[channel]);
	f->ports_left[channel] -= n;
	data += n;
	len -= n;
	if (len == 0)
		return 0;
	if (channel == CHANNEL_DATA)
		return data_take(f, data, len);
	n = strlen(f->trouble);
	(void)snprintf(f->trouble + n, sizeof(f->trouble) - n, "%.*s", (int)MIN(len, TROUBLE),
		       (const char *)data);
	return 0;
}

static bool is_whole(const struct forward *f)
{
	return f->status > 0 && buf_len(f->in) >= f->body_len;
}

/* ended() - without a whole answer. */
static int ended(struct forward *f)
{
	return kube_stream_say(f->stream, -EPIPE,
			       f->trouble[0] ? f->trouble
					     : "the connection ended without an answer");
}

static int run(const struct kube *k, const struct kube_forward *what, struct forward *f)
{
	_cleanup_(kube_stream_closep) struct kube_stream *stream = NULL;
	_cleanup_(freep) char *request =
		str_format("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
			   what->method, what->target);
	int r = request ? kube_stream_open(k, f->stream, &stream) : -ENOMEM;

	if (r == 0)
		r = kube_stream_send(stream, CHANNEL_DATA, request, strlen(request));
	if (r < 0)
		return r;
	r = 1;
	while (r > 0 && !is_whole(f) && !f->trouble[0])
		r = kube_stream_turn(stream);
	if (is_whole(f))
		return f->status;
	return r < 0 ? r : ended(f);
}

int kube_forward(const struct kube *k, const struct kube_forward *what, struct buf *body, char *err,
		 size_t err_size)
{
	struct forward f = {.ports_left = {sizeof(uint16_t), sizeof(uint16_t)}, .in = body};
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/pods/%s/portforward?ports=%u", what->namespace_,
			   what->pod, what->port);
	const struct kube_stream_config stream = {
		.path = path,
		.protocols = "v4.channel.k8s.io",
		.what = "port-forward",
		.timeout_us = KUBE_FORWARD_TIMEOUT_US,
		.on_data = on_data,
		.arg = &f,
		.err = err,
		.err_size = err_size,
	};
	int r;

	*err = '\0';
	f.stream = &stream;
	body->limit = KUBE_FORWARD_ANSWER_MAX + HEAD_MAX;
	r = path ? run(k, what, &f) : -ENOMEM;
	if (r < 0 && !*err)
		(void)kube_stream_say(&stream, r, strerror(-r));
	return r;
}
