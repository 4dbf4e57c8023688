/* SPDX-License-Identifier: Apache-2.0 */
#include "source/kube_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/str.h"
#include "source/kube_curl.h"

#define CONNECT_MS      5000L
#define KEEPALIVE_S     15L
#define KEEPALIVE_PROBE 5L
/* What was sent and is not acknowledged by then goes nowhere: the kernel alone would try for a
 * quarter of an hour, and all requests share the connection. */
#define UNACKED_MS     30000
#define ERROR_BODY_MAX (64u * 1024)

struct kube_client {
	struct loop *loop;
	const struct kube_config *config;
	struct kube_config own; /* of kube_client_open() */
	CURLM *multi;
	struct loop_timer timer;
	struct loop_task reap; /* requests that ended, outside libcurl's callbacks */
	struct list requests;
	struct list sockets;
	bool is_inside; /* libcurl, which takes no new request then */
};

/** struct watched - one socket of libcurl's. */
struct watched {
	struct loop_fd w;
	struct kube_client *client;
	struct list link;
};

struct kube_request {
	struct kube_client *client;
	struct list link;
	CURL *easy;
	struct curl_slist *headers, *route;
	struct buf body;
	void (*on_begin)(void *arg);
	int (*on_data)(void *arg, const char *data, size_t len);
	void (*on_done)(void *arg, const struct kube_answer *answer);
	void *arg;
	int error; /* of on_data */
	char curl_error[CURL_ERROR_SIZE];
	bool is_cancelled;
	bool is_waiting; /* libcurl has not got it yet */
};

static void reap_soon(struct kube_client *c)
{
	loop_task_queue(c->loop, &c->reap);
}

static void request_free(struct kube_request *q)
{
	(void)curl_multi_remove_handle(q->client->multi, q->easy);
	curl_easy_cleanup(q->easy);
	curl_slist_free_all(q->headers);
	curl_slist_free_all(q->route);
	list_del(&q->link);
	buf_reset(&q->body);
	free(q);
}

static int error_of(CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		return -ECONNREFUSED;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		return -EKEYREJECTED;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -ECONNRESET;
	}
}

static void request_done(struct kube_request *q, CURLcode code)
{
	struct kube_answer a = {.error = q->error ? q->error : error_of(code), .message = ""};
	void (*on_done)(void *, const struct kube_answer *) = q->on_done;
	char message[CURL_ERROR_SIZE + 64] = "";
	struct buf body = q->body;
	void *arg = q->arg;
	long status = 0;

	(void)curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
	if (a.error)
		(void)snprintf(message, sizeof(message), "%s",
			       q->error         ? strerror(-q->error)
			       : *q->curl_error ? q->curl_error
						: curl_easy_strerror(code));
	a.status = (int)status;
	a.message = message;
	memset(&q->body, 0, sizeof(q->body));
	request_free(q);
	if (buf_append(&body, "", 1) == 0) {
		a.body = (const char *)buf_head(&body);
		a.len = buf_len(&body) - 1;
	} else {
		a.error = -ENOMEM;
		a.body = "";
	}
	on_done(arg, &a);
	buf_reset(&body);
}

static void request_begin(struct kube_request *q)
{
	q->is_waiting = false;
	if (curl_multi_add_handle(q->client->multi, q->easy) != CURLM_OK)
		request_done(q, CURLE_OUT_OF_MEMORY);
}

static void on_reap(struct loop_task *t)
{
	struct kube_client *c = container_of(t, struct kube_client, reap);
	struct kube_request *q, *tmp;
	CURLMsg *m;
	int left;

	list_for_each_entry_safe (q, tmp, &c->requests, link)
		if (q->is_cancelled)
			request_free(q);
		else if (q->is_waiting)
			request_begin(q);
	while ((m = curl_multi_info_read(c->multi, &left))) {
		char *private = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
		q = (struct kube_request *)(void *)private;
		if (q->is_cancelled)
			request_free(q);
		else
			request_done(q, code);
	}
}

static void act(struct kube_client *c, curl_socket_t fd, int mask)
{
	int running;

	c->is_inside = true;
	(void)curl_multi_socket_action(c->multi, fd, mask, &running);
	c->is_inside = false;
	reap_soon(c);
}

static void on_socket_event(struct loop_fd *w, uint32_t events)
{
	struct watched *s = container_of(w, struct watched, w);
	int mask = 0;

	if (events & EPOLLIN)
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		mask |= CURL_CSELECT_ERR;
	act(s->client, w->fd, mask);
}

static void watched_free(struct watched *s)
{
	loop_del(&s->w);
	list_del(&s->link);
	free(s);
}

static int watched_add(struct kube_client *c, curl_socket_t fd, uint32_t events)
{
	struct watched *s = calloc(1, sizeof(*s));

	if (!s)
		return -1;
	s->client = c;
	s->w.fd = fd;
	s->w.on_event = on_socket_event;
	if (loop_add(c->loop, &s->w, events) < 0) {
		free(s);
		return -1;
	}
	list_add_tail(&c->sockets, &s->link);
	return curl_multi_assign(c->multi, fd, s) == CURLM_OK ? 0 : -1;
}

/* libcurl says what it waits for. */
static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *assigned)
{
	struct kube_client *c = arg;
	struct watched *s = assigned;
	uint32_t events =
		(what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);

	if (what == CURL_POLL_REMOVE) {
		if (s)
			watched_free(s);
		return 0;
	}
	if (!s)
		return watched_add(c, fd, events);
	return loop_set(&s->w, events) < 0 ? -1 : 0;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct kube_client *c = arg;

	if (timeout_ms < 0)
		loop_timer_del(&c->timer);
	else if (loop_timer_set(c->loop, &c->timer, (uint64_t)timeout_ms * 1000) < 0)
		return -1;
	return 0;
}

static void on_timer(struct loop_timer *t)
{
	act(container_of(t, struct kube_client, timer), CURL_SOCKET_TIMEOUT, 0);
}

int kube_client_new(struct loop *loop, const struct kube_config *config, struct kube_client **ret)
{
	_cleanup_(kube_client_freep) struct kube_client *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->config = config;
	c->timer.on_timer = on_timer;
	c->reap.on_task = on_reap;
	list_init(&c->requests);
	list_init(&c->sockets);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	c->multi = curl_multi_init();
	if (!c->multi)
		return -ENOMEM;
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	(void)curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	(void)curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
	(void)curl_multi_setopt(c->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
	*ret = TAKE_PTR(c);
	return 0;
}

int kube_client_open(struct loop *loop, const char *kubeconfig, struct kube_client **ret, char *err,
		     size_t err_size)
{
	_cleanup_(kube_config_clear) struct kube_config config = {0};
	struct kube_client *c;
	int r;

	if (kubeconfig && *kubeconfig)
		r = kube_config_load(kubeconfig, NULL, &config, err, err_size);
	else
		r = kube_config_in_cluster(KUBE_ACCOUNT_DIR, &config, err, err_size);
	if (r == 0 && config.exec) {
		(void)snprintf(err, err_size,
			       "%s: exec: expected a token or a client certificate: programs are "
			       "not run from here",
			       kubeconfig);
		r = -EINVAL;
	}
	if (r < 0)
		return r;
	r = kube_client_new(loop, &config, &c);
	if (r < 0)
		return r;
	c->own = config;
	c->config = &c->own;
	config = (struct kube_config){0};
	*ret = c;
	return 0;
}

struct kube_client *kube_client_free(struct kube_client *c)
{
	struct kube_request *q, *tmp;
	struct watched *s, *next;

	if (!c)
		return NULL;
	list_for_each_entry_safe (q, tmp, &c->requests, link)
		request_free(q);
	if (c->multi)
		(void)curl_multi_cleanup(c->multi);
	list_for_each_entry_safe (s, next, &c->sockets, link)
		watched_free(s);
	loop_timer_del(&c->timer);
	loop_task_del(&c->reap);
	kube_config_clear(&c->own);
	free(c);
	return NULL;
}

static size_t on_write(char *data, size_t size, size_t n, void *arg)
{
	struct kube_request *q = arg;
	size_t len = size * n;
	long status = 0;

	if (q->is_cancelled || q->error)
		return 0;
	(void)curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
	if (q->on_data && status / 100 == 2)
		q->error = q->on_data(q->arg, data, len);
	else
		q->error = buf_append(&q->body, data, len);
	return q->error || q->is_cancelled ? 0 : len;
}

/* Each line of the head, an empty one at its end. */
static size_t on_header(char *line, size_t size, size_t n, void *arg)
{
	struct kube_request *q = arg;
	long status = 0;

	(void)curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
	if (q->on_begin && !q->is_cancelled && status / 100 == 2 && size * n > 0 && *line == '\r')
		q->on_begin(q->arg);
	return size * n;
}

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(int){UNACKED_MS}, sizeof(int));
	return CURL_SOCKOPT_OK;
}

static int header_add(struct kube_request *q, const char *line)
{
	struct curl_slist *more = line ? curl_slist_append(q->headers, line) : NULL;

	if (!more)
		return -ENOMEM;
	q->headers = more;
	return 0;
}

static int token_add(struct kube_request *q)
{
	_cleanup_(freep) char *line = NULL;
	int r = kube_curl_token(q->client->config, &line);

	if (r < 0 || !line)
		return r;
	r = header_add(q, line);
	explicit_bzero(line, strlen(line));
	return r;
}

/* Whoever is in between goes by where it was sent, not by whom it is verified as. */
static int host_add(struct kube_request *q)
{
	_cleanup_(freep) char *line = NULL;
	const char *host;
	int n = kube_curl_host(q->client->config, &host);

	line = str_format("Host: %.*s", n, host);
	return header_add(q, line);
}

static int act_as_add(struct kube_request *q)
{
	const json_t *one;
	size_t i;
	int r = 0;

	json_array_foreach (q->client->config->act_as, i, one)
		if (r == 0)
			r = header_add(q, json_string_value(one));
	return r;
}

static int headers_fill(struct kube_request *q, const struct kube_request_config *config)
{
	_cleanup_(freep) char *type =
		str_format("Content-Type: %s",
			   config->content_type ? config->content_type : "application/json");
	_cleanup_(freep) char *accept =
		str_format("Accept: %s", config->accept ? config->accept : "application/json");
	int r;

	r = header_add(q, accept);
	if (r == 0)
		r = header_add(q, "User-Agent: culvert");
	if (r == 0)
		r = header_add(q, "Expect:");
	if (r == 0 && config->body)
		r = header_add(q, type);
	if (r == 0)
		r = act_as_add(q);
	if (r == 0)
		r = kube_curl_route(q->easy, q->client->config, config->path, &q->route);
	if (r == 0 && q->route)
		r = host_add(q);
	return r < 0 ? r : token_add(q);
}

static void options_set(struct kube_request *q, const struct kube_request_config *config)
{
	CURL *e = q->easy;

	(void)curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, config->method);
	if (config->body)
		(void)curl_easy_setopt(e, CURLOPT_COPYPOSTFIELDS, config->body);
	(void)curl_easy_setopt(e, CURLOPT_HTTPHEADER, q->headers);
	(void)curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_write);
	(void)curl_easy_setopt(e, CURLOPT_WRITEDATA, q);
	(void)curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(e, CURLOPT_HEADERDATA, q);
	(void)curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, on_socket);
	(void)curl_easy_setopt(e, CURLOPT_PRIVATE, q);
	(void)curl_easy_setopt(e, CURLOPT_ERRORBUFFER, q->curl_error);
	(void)curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	(void)curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(config->timeout_us / 1000));
	/* libcurl looks each second where it is to, also for no time at all */
	if (config->silence_us) {
		(void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
		(void)curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME,
				       (long)(config->silence_us / 1000000));
	}
	(void)curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	(void)curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_S);
	(void)curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_PROBE);
	(void)curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	(void)curl_easy_setopt(e, CURLOPT_PIPEWAIT, 1L);
	kube_curl_proxy(e, q->client->config);
	kube_curl_trust(e, q->client->config);
}

int kube_request_new(struct kube_client *c, const struct kube_request_config *config,
		     struct kube_request **ret)
{
	struct kube_request *q;
	int r;

	if (!config->on_done)
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->client = c;
	q->on_begin = config->on_begin;
	q->on_data = config->on_data;
	q->on_done = config->on_done;
	q->arg = config->arg;
	q->body.limit = config->on_data ? ERROR_BODY_MAX : KUBE_BODY_MAX;
	list_add_tail(&c->requests, &q->link);
	q->easy = curl_easy_init();
	r = q->easy ? headers_fill(q, config) : -ENOMEM;
	if (r == 0) {
		options_set(q, config);
		q->is_waiting = c->is_inside;
		if (q->is_waiting)
			reap_soon(c);
		else if (curl_multi_add_handle(c->multi, q->easy) != CURLM_OK)
			r = -ENOMEM;
	}
	if (r < 0) {
		request_free(q);
		return r;
	}
	*ret = q;
	return 0;
}

struct kube_request *kube_request_cancel(struct kube_request *q)
{
	if (!q)
		return NULL;
	/* libcurl forbids removing it inside its own callbacks */
	q->is_cancelled = true;
	reap_soon(q->client);
	return NULL;
}
