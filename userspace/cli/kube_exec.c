/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_exec.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "admin.h"
#include "base/str.h"
#include "json.h"
#include "source/kube_curl.h"
#include "websocket.h"

#define CONNECT_MS 5000L
#define HEAD_MAX   (64u * 1024)
#define CHUNK      16384

/* The first byte of each message. */
enum channel { CHANNEL_OUT = 1, CHANNEL_ERR = 2, CHANNEL_STATUS = 3 };

/** struct session - one command under way. */
struct session {
	CURL *curl;
	struct curl_slist *route;
	curl_socket_t fd;
	uint64_t deadline_us;
	struct websocket ws;
	struct kube_exec_result *result;
	json_t *status; /* the last message; NULL: not yet */
	bool is_closed;
	char *why;
	size_t why_size;
};

static int say(struct session *s, int error, const char *what)
{
	(void)snprintf(s->why, s->why_size, "%s", what);
	return error;
}

/* wait_for() - until the socket is @events. Return: 0; -ETIMEDOUT. */
static int wait_for(struct session *s, short events)
{
	uint64_t now = now_monotonic_us();
	struct pollfd p = {.fd = s->fd, .events = events};

	if (now >= s->deadline_us)
		return say(s, -ETIMEDOUT, "the command did not end in time");
	(void)poll(&p, 1, (int)MIN((s->deadline_us - now) / 1000 + 1, 1000));
	return 0;
}

static int send_all(struct session *s, const struct buf *b)
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
static int receive(struct session *s, uint8_t chunk[CHUNK])
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
	struct session *s = arg;

	if (len == 0)
		return 0;
	if (data[0] == CHANNEL_OUT)
		return buf_append(&s->result->out, data + 1, len - 1);
	if (data[0] == CHANNEL_ERR)
		return buf_append(&s->result->err, data + 1, len - 1);
	if (data[0] == CHANNEL_STATUS && !s->status)
		s->status = json_loadb((const char *)data + 1, len - 1, 0, NULL);
	return 0;
}

static int on_ping(void *arg, const uint8_t *data, size_t len)
{
	struct session *s = arg;
	_cleanup_(buf_resetp) struct buf pong = {0};
	int r = websocket_frame(&pong, WEBSOCKET_PONG, data, len);

	return r < 0 ? r : send_all(s, &pong);
}

static int on_close(void *arg)
{
	struct session *s = arg;

	s->is_closed = true;
	return 0;
}

static const struct websocket_ops ops = {on_message, on_ping, on_close};

static int command_add(struct buf *path, const char *const *command)
{
	int r = 0;

	for (; *command && r == 0; command++) {
		_cleanup_(freep) char *word = admin_escape(*command);

		r = word ? buf_printf(path, "&command=%s", word) : -ENOMEM;
	}
	return r;
}

static int head_make(const struct kube *k, const struct kube_exec *what, const char *key,
		     struct buf *out)
{
	_cleanup_(freep) char *token = NULL;
	const char *host;
	int host_len = kube_curl_host(kube_config(k), &host);
	int r = kube_curl_token(kube_config(k), &token);

	if (r == 0)
		r = buf_printf(out,
			       "GET %s/api/v1/namespaces/%s/pods/%s/exec?container=%s&stdout=true"
			       "&stderr=true",
			       host + host_len, what->namespace_, what->pod, what->container);
	if (r == 0)
		r = command_add(out, what->command);
	if (r == 0)
		r = buf_printf(out,
			       " HTTP/1.1\r\nHost: %.*s\r\nUpgrade: websocket\r\n"
			       "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
			       "Sec-WebSocket-Key: %s\r\nUser-Agent: culvert\r\n"
			       "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n"
			       "%s%s\r\n",
			       host_len, host, key, token ? token : "", token ? "\r\n" : "");
	if (token)
		explicit_bzero(token, strlen(token));
	return r;
}

static int dial(struct session *s, const struct kube_config *config)
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
	(void)curl_easy_setopt(s->curl, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(s->curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
	(void)curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	(void)curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, problem);
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
static int refused(struct session *s, int status, const char *body)
{
	_cleanup_(json_decrefp) json_t *v = json_loads(body, JSON_DISABLE_EOF_CHECK, NULL);
	char text[64];

	(void)snprintf(text, sizeof(text), "exec was answered with status %d", status);
	(void)say(s, 0, json_text(v, "message", text));
	return status == 404 ? -ENOENT : status == 401 || status == 403 ? -EACCES : -EBADMSG;
}

/* head_check() - @head and what came with it: is it the answer to our key? */
static int head_check(struct session *s, char *head, const char *key)
{
	static const char version[] = "HTTP/1.1 ";
	char accept[WEBSOCKET_KEY_MAX], line[WEBSOCKET_KEY_MAX + 32];
	char *body = strstr(head, "\r\n\r\n");
	int status = (int)strtol(head + MIN(strlen(head), strlen(version)), NULL, 10);

	if (!str_has_prefix(head, version) || status == 0)
		return say(s, -EBADMSG, "exec: the answer is no HTTP");
	if (status != 101)
		return refused(s, status, body ? body + 4 : "");
	if (websocket_accept(key, accept) < 0)
		return -ENOMEM;
	(void)snprintf(line, sizeof(line), "Sec-WebSocket-Accept: %s\r\n", accept);
	if (!strcasestr(head, line) || !strcasestr(head, ".channel.k8s.io"))
		return say(s, -EBADMSG, "exec: the API server speaks no protocol that we know");
	if (!body)
		return say(s, -ECONNRESET, "exec: the connection ended within the answer's head");
	return 0;
}

/* upgrade() - until the head of the answer is whole; what follows it goes to the WebSocket. */
static int upgrade(struct session *s, const char *key)
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

static int run(struct session *s)
{
	uint8_t chunk[CHUNK];
	int r = 0;

	while (r == 0 && !s->status && !s->is_closed) {
		int n = receive(s, chunk);

		if (n <= 0)
			return n < 0 ? n
				     : say(s, -ECONNRESET, "the API server ended the connection");
		r = websocket_feed(&s->ws, chunk, (size_t)n, &ops, s);
	}
	if (r < 0)
		return *s->why ? r : say(s, r, "exec: what came was no WebSocket");
	return s->status ? 0 : say(s, -ECONNRESET, "exec ended without a status");
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
	return say(s, -EIO, json_text(s->status, "message", "exec failed"));
}

int kube_exec(const struct kube *k, const struct kube_exec *what, struct kube_exec_result *ret,
	      char *err, size_t err_size)
{
	uint64_t timeout = what->timeout_us ? what->timeout_us : KUBE_EXEC_TIMEOUT_US;
	struct session s = {.result = ret,
			    .deadline_us = now_monotonic_us() + timeout,
			    .why = err,
			    .why_size = err_size};
	_cleanup_(buf_resetp) struct buf head = {0};
	char key[WEBSOCKET_KEY_MAX];
	int r;

	*err = '\0';
	ret->out.limit = ret->err.limit = KUBE_EXEC_OUTPUT_MAX;
	websocket_key(key);
	r = head_make(k, what, key, &head);
	if (r == 0)
		r = dial(&s, kube_config(k));
	if (r == 0)
		r = send_all(&s, &head);
	if (buf_len(&head) > 0)
		buf_wipe(&head);
	if (r == 0)
		r = upgrade(&s, key);
	if (r == 0)
		r = run(&s);
	if (r == 0)
		r = code_of(&s);
	if (r < 0 && !*err)
		(void)say(&s, r, strerror(-r));
	websocket_reset(&s.ws);
	json_decref(s.status);
	curl_easy_cleanup(s.curl);
	curl_slist_free_all(s.route);
	return r;
}
