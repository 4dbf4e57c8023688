/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolve.h"

#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "net/addr.h"

#define TRY_MS  2000
#define TRIES   2
#define TICK_US 100000ULL

struct resolve {
	struct loop *loop;
	ares_channel channel;
	struct loop_timer tick;
	struct loop_timer done; /* the answer is told from the loop */
	struct list sockets;
	resolve_cb cb;
	void *arg;
	char *name;
	int error;
	struct cv_addr addrs[RESOLVE_ADDRS_MAX];
	size_t n;
	bool is_answered;
};

/** struct watched - one socket of c-ares'. */
struct watched {
	struct loop_fd w;
	struct resolve *query;
	struct list link;
};

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_init(void)
{
	(void)ares_library_init(ARES_LIB_INIT_ALL);
}

static void watched_free(struct watched *s)
{
	loop_del(&s->w);
	list_del(&s->link);
	free(s);
}

static void on_socket_event(struct loop_fd *w, uint32_t events)
{
	const struct watched *s = container_of(w, struct watched, w);
	ares_socket_t read_fd = events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? w->fd : ARES_SOCKET_BAD;
	ares_socket_t write_fd = events & EPOLLOUT ? w->fd : ARES_SOCKET_BAD;

	ares_process_fd(s->query->channel, read_fd, write_fd);
}

static struct watched *watched_find(struct resolve *q, int fd)
{
	struct watched *s;

	list_for_each_entry (s, &q->sockets, link)
		if (s->w.fd == fd)
			return s;
	return NULL;
}

static void on_socket_state(void *arg, ares_socket_t fd, int is_read, int is_write)
{
	struct resolve *q = arg;
	struct watched *s = watched_find(q, fd);
	uint32_t events = (is_read ? EPOLLIN : 0u) | (is_write ? EPOLLOUT : 0u);

	if (!events) {
		if (s)
			watched_free(s);
		return;
	}
	if (s) {
		(void)loop_set(&s->w, events);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return; /* the query times out */
	s->query = q;
	s->w.fd = fd;
	s->w.on_event = on_socket_event;
	list_add_tail(&q->sockets, &s->link);
	if (loop_add(q->loop, &s->w, events) < 0)
		watched_free(s);
}

int resolve_error(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOTFOUND:
	case ARES_ENODATA:
	case ARES_EBADNAME:
		return -ENOENT;
	case ARES_ETIMEOUT:
		return -ETIMEDOUT;
	case ARES_ENOMEM:
		return -ENOMEM;
	case ARES_EDESTRUCTION:
	case ARES_ECANCELLED:
		return -ECANCELED;
	default:
		return -EIO;
	}
}

static void answer(struct resolve *q, int error)
{
	q->error = error;
	q->is_answered = true;
	loop_timer_del(&q->tick);
	(void)loop_timer_set(q->loop, &q->done, 0);
}

static void addrs_take(struct resolve *q, const struct ares_addrinfo *info)
{
	const struct ares_addrinfo_node *node;
	struct cv_sockaddr sa;

	for (node = info->nodes; node && q->n < RESOLVE_ADDRS_MAX; node = node->ai_next)
		if (cv_sockaddr_from_native(node->ai_addr, node->ai_addrlen, &sa) == 0)
			q->addrs[q->n++] = sa.addr;
}

static void on_addrinfo(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct resolve *q = arg;

	/* freeing the query ends here, too */
	if (status == ARES_EDESTRUCTION || status == ARES_ECANCELLED)
		return;
	if (info)
		addrs_take(q, info);
	ares_freeaddrinfo(info);
	answer(q, status == ARES_SUCCESS && q->n == 0 ? -ENOENT : resolve_error(status));
}

static void on_tick(struct loop_timer *t)
{
	struct resolve *q = container_of(t, struct resolve, tick);

	ares_process_fd(q->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	if (!q->is_answered)
		(void)loop_timer_set(q->loop, &q->tick, TICK_US);
}

static void on_done(struct loop_timer *t)
{
	const struct resolve *q = container_of(t, struct resolve, done);

	q->cb(q->arg, q->error, q->addrs, q->n);
}

static int ask(struct resolve *q)
{
	struct ares_options options = {
		.timeout = TRY_MS,
		.tries = TRIES,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = q,
	};
	const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
						  .ai_socktype = SOCK_STREAM};

	if (ares_init_options(&q->channel, &options,
			      ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB) !=
	    ARES_SUCCESS)
		return -ENOMEM;
	ares_getaddrinfo(q->channel, q->name, NULL, &hints, on_addrinfo, q);
	return q->is_answered ? 0 : loop_timer_set(q->loop, &q->tick, TICK_US);
}

int resolve_new(struct loop *loop, const char *name, resolve_cb cb, void *arg, struct resolve **ret)
{
	_cleanup_(resolve_freep) struct resolve *q = calloc(1, sizeof(*q));
	int r = 0;

	(void)pthread_once(&library_once, library_init);
	if (!q)
		return -ENOMEM;
	list_init(&q->sockets);
	q->loop = loop;
	q->cb = cb;
	q->arg = arg;
	q->tick.on_timer = on_tick;
	q->done.on_timer = on_done;
	q->name = strdup(name);
	if (!q->name)
		return -ENOMEM;
	if (cv_addr_parse(name, &q->addrs[0]) == 0) {
		q->n = 1;
		answer(q, 0);
	} else {
		r = ask(q);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(q);
	return 0;
}

struct resolve *resolve_free(struct resolve *q)
{
	struct watched *s, *tmp;

	if (!q)
		return NULL;
	loop_timer_del(&q->tick);
	loop_timer_del(&q->done);
	if (q->channel)
		ares_destroy(q->channel);
	list_for_each_entry_safe (s, tmp, &q->sockets, link)
		watched_free(s);
	free(q->name);
	free(q);
	return NULL;
}
