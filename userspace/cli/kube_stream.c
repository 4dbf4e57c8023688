/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_stream.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/str.h"
#include "json.h"
#include "source/kube_curl.h"
#include "websocket.h"

#define CONNECT_MS 5000L
#define HEAD_MAX   (64u * 1024)
#define WHOLE      15u /* times the silence that is borne, for what goes on and on */
#define CHUNK      16384
#define PIECE_MAX  125 /* of a frame that goes out, with its channel */

struct kube_stream {
	struct kube_stream_config config;
	CURL *curl;
	struct curl_slist *route;
	curl_socket_t fd;
	uint64_t deadline_us, last_us; /* of the next word, and of all */
	struct websocket ws;
	bool is_closed;
};

int kube_stream_say(const struct kube_stream_config *c, int error, const char *what)
{
	(void)snprintf(c->err, c->err_size, "%s: %s", c->what, what);
	return error;
}

static int say(struct kube_stream *s, int error, const char *what)
{
	return kube_stream_say(&s->config, error, what);
}

/* wait_for() - until the socket is @events. Return: 0; -ETIMEDOUT. */
static int wait_for(struct kube_stream *s, short events)
{
	uint64_t now = now_monotonic_us();
	struct pollfd p = {.fd = s->fd, .events = events};

	if (now >= s->deadline_us)
		return say(s, -ETIMEDOUT, "there was no end in time");
	(void)poll(&p, 1, (int)MIN((s->deadline_us - now) / 1000 + 1, 1000));
	return 0;
}

static int send_all(struct kube_stream *s, const struct buf *b)
{
	size_t at = 0;

	while (at < buf_len(b)) {
		size_t n = 0;
		CURLcode code = curl_easy_send(s->curl, buf_head(b) + at, buf_len(b) - at, &n);
		int r = code == CURLE_AGAIN ? wait_for(s, POLLOUT) : 0;

		if (code != CURLE_OK && code != CURLE_AGAIN)
			return say(s, -ECONNRESET, curl_easy_strerror(code));
		if (r < 0)
			return r;
		at += n;
	}
	return 0;
}

/* receive() - some bytes. Return: how many; 0: the end; -errno. */
static int receive(struct kube_stream *s, uint8_t chunk[CHUNK])
{
	for (;;) {
		size_t n = 0;
		CURLcode code = curl_easy_recv(s->curl, chunk, CHUNK, &n);
		int r;

		if (code == CURLE_OK)
			return (int)n;
		if (code != CURLE_AGAIN)
			return say(s, -ECONNRESET, curl_easy_strerror(code));
		r = wait_for(s, POLLIN);
		if (r < 0)
			return r;
	}
}

static int on_message(void *arg, const uint8_t *data, size_t len)
{
	struct kube_stream *s = arg;

	if (len > 1) /* a large answer may take long: it is no silence */
		s->deadline_us = MIN(now_monotonic_us() + s->config.timeout_us, s->last_us);
	return len > 0 ? s->config.on_data(s->config.arg, data[0], data + 1, len - 1) : 0;
}

static int on_ping(void *arg, const uint8_t *data, size_t len)
{
	struct kube_stream *s = arg;
	_cleanup_(buf_resetp) struct buf pong = {0};
	int r = websocket_frame(&pong, WEBSOCKET_PONG, data, len);

	return r < 0 ? r : send_all(s, &pong);
}

static int on_close(void *arg)
{
	struct kube_stream *s = arg;

	s->is_closed = true;
	return 0;
}

static const struct websocket_ops ops = {on_message, on_ping, on_close};

static int head_make(const struct kube *k, const struct kube_stream_config *c, const char *key,
		     struct buf *out)
{
	_cleanup_(freep) char *token = NULL;
	const json_t *one;
	const char *host;
	size_t i;
	int host_len = kube_curl_host(kube_config(k), &host);
	int r = kube_curl_token(kube_config(k), &token);

	if (r == 0)
		r = buf_printf(out,
			       "GET %s%s HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\n"
			       "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			       "Sec-WebSocket-Key: %s\r\nUser-Agent: culvert\r\n"
			       "Sec-WebSocket-Protocol: %s\r\n%s%s",
			       host + host_len, c->path, host_len, host, key, c->protocols,
			       token ? token : "", token ? "\r\n" : "");
	json_array_foreach (kube_config(k)->act_as, i, one)
		if (r == 0)
			r = buf_printf(out, "%s\r\n", json_string_value(one));
	if (r == 0)
		r = buf_append_str(out, "\r\n");
	if (token)
		explicit_bzero(token, strlen(token));
	return r;
}

static int dial(struct kube_stream *s, const struct kube_config *config)
{
	char problem[CURL_ERROR_SIZE] = "";
	CURLcode code;

	s->curl = curl_easy_init();
	if (!s->curl)
		return -ENOMEM;
	if (kube_curl_route(s->curl, config, "", &s->route) < 0)
		return -ENOMEM;
	(void)curl_easy_setopt(s->curl, CURLOPT_CONNECT_ONLY, 1L);
	(void)curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(s->curl, CURLOPT_HTTPPROXYTUNNEL, 1L);
	(void)curl_easy_setopt(s->curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
	(void)curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	(void)curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, problem);
	kube_curl_proxy(s->curl, config);
	kube_curl_trust(s->curl, config);
	code = curl_easy_perform(s->curl);
	(void)curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, NULL);
	if (code == CURLE_OK)
		code = curl_easy_getinfo(s->curl, CURLINFO_ACTIVESOCKET, &s->fd);
	if (code != CURLE_OK)
		return say(s, -ECONNREFUSED, *problem ? problem : curl_easy_strerror(code));
	return 0;
}

/* refused() - an answer that is no upgrade; its body is what the API server has to say. */
static int refused(struct kube_stream *s, int status, const char *body)
{
	_cleanup_(json_decrefp) json_t *v = json_loads(body, JSON_DISABLE_EOF_CHECK, NULL);
	char text[64];

	(void)snprintf(text, sizeof(text), "the answer has status %d", status);
	(void)say(s, 0, json_text(v, "message", text));
	return status == 404 ? -ENOENT : status == 401 || status == 403 ? -EACCES : -EBADMSG;
}

/* head_check() - @head and what came with it: is it the answer to our key? */
static int head_check(struct kube_stream *s, char *head, const char *key)
{
	static const char version[] = "HTTP/1.1 ";
	char accept[WEBSOCKET_KEY_MAX], line[WEBSOCKET_KEY_MAX + 32];
	char *body = strstr(head, "\r\n\r\n");
	int status = (int)strtol(head + MIN(strlen(head), strlen(version)), NULL, 10);

	if (!str_has_prefix(head, version) || status == 0)
		return say(s, -EBADMSG, "the answer is no HTTP");
	if (status != 101)
		return refused(s, status, body ? body + 4 : "");
	if (websocket_accept(key, accept) < 0)
		return -ENOMEM;
	(void)snprintf(line, sizeof(line), "Sec-WebSocket-Accept: %s\r\n", accept);
	if (!strcasestr(head, line) || !strcasestr(head, ".channel.k8s.io"))
		return say(s, -EBADMSG, "the API server speaks no protocol that we know");
	if (!body)
		return say(s, -ECONNRESET, "the connection ended within the answer's head");
	return 0;
}

/* upgrade() - until the head of the answer is whole; what follows it goes to the WebSocket. */
static int upgrade(struct kube_stream *s, const char *key)
{
	_cleanup_(buf_resetp) struct buf head = {.limit = HEAD_MAX};
	uint8_t chunk[CHUNK];
	char *end;
	int r, n;

	for (;;) {
		n = receive(s, chunk);
		if (n < 0)
			return n;
		r = buf_append(&head, chunk, (size_t)n);
		if (r == 0)
			r = buf_reserve(&head, 1);
		if (r < 0)
			return r;
		*buf_tail(&head) = '\0';
		end = strstr((char *)buf_head(&head), "\r\n\r\n");
		/* the body of a refusal: until the end or what came at once */
		if (end || n == 0)
			break;
	}
	r = head_check(s, (char *)buf_head(&head), key);
	if (r < 0)
		return r;
	end += 4;
	n = (int)(buf_tail(&head) - (uint8_t *)end);
	return websocket_feed(&s->ws, end, (size_t)n, &ops, s);
}

int kube_stream_send(struct kube_stream *s, uint8_t channel, const void *data, size_t len)
{
	_cleanup_(buf_resetp) struct buf frames = {0};
	uint8_t piece[PIECE_MAX] = {channel};
	size_t at = 0, n;
	int r = 0;

	while (r == 0 && at < len) {
		n = MIN(len - at, sizeof(piece) - 1);
		memcpy(piece + 1, (const uint8_t *)data + at, n);
		r = websocket_frame(&frames, WEBSOCKET_BINARY, piece, n + 1);
		at += n;
	}
	return r < 0 ? r : send_all(s, &frames);
}

int kube_stream_turn(struct kube_stream *s)
{
	uint8_t chunk[CHUNK];
	int n, r;

	if (s->is_closed)
		return 0;
	n = receive(s, chunk);
	if (n <= 0)
		return n;
	r = websocket_feed(&s->ws, chunk, (size_t)n, &ops, s);
	if (r < 0)
		return *s->config.err ? r : say(s, r, "what came was no WebSocket");
	return 1;
}

int kube_stream_open(const struct kube *k, const struct kube_stream_config *config,
		     struct kube_stream **ret)
{
	_cleanup_(kube_stream_closep) struct kube_stream *s = calloc(1, sizeof(*s));
	_cleanup_(buf_resetp) struct buf head = {0};
	char key[WEBSOCKET_KEY_MAX];
	int r;

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->deadline_us = now_monotonic_us() + config->timeout_us;
	s->last_us = now_monotonic_us() + WHOLE * config->timeout_us;
	websocket_key(key);
	r = head_make(k, config, key, &head);
	if (r == 0)
		r = dial(s, kube_config(k));
	if (r == 0)
		r = send_all(s, &head);
	if (buf_len(&head) > 0)
		buf_wipe(&head);
	if (r == 0)
		r = upgrade(s, key);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

struct kube_stream *kube_stream_close(struct kube_stream *s)
{
	if (!s)
		return NULL;
	websocket_reset(&s->ws);
	curl_easy_cleanup(s->curl);
	curl_slist_free_all(s->route);
	free(s);
	return NULL;
}
