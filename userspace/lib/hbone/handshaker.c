/* SPDX-License-Identifier: Apache-2.0 */
#include "hbone/handshaker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/list.h"
#include "base/loop.h"
#include "base/reserve.h"
#include "hbone/handshake.h"
#include "hbone/tunnel.h"

struct hbone_handshaker {
	struct loop *loop;
	struct hbone_scratch *scratch;
	pthread_t thread;
	bool is_running;  /* under the lock */
	bool is_stopping; /* under the lock */
	/* Of the lists, and of where a handshake is. Nothing else happens under it. */
	pthread_mutex_t lock;
	struct list sent;   /* struct tunnel_handshake.link */
	struct list waived; /* the same */
};

struct hbone_desk {
	struct hbone_handshaker *handshaker;
	struct loop_fd watch; /* an eventfd: there are some in @back */
	struct list back;     /* struct tunnel_handshake.link, under the handshaker's lock */
};

static void lock(struct hbone_handshaker *h)
{
	(void)pthread_mutex_lock(&h->lock);
}

static void unlock(struct hbone_handshaker *h)
{
	(void)pthread_mutex_unlock(&h->lock);
}

/* take() - the first of a list. */
static struct tunnel_handshake *take(struct hbone_handshaker *h, struct list *from,
				     enum handshake_place place)
{
	struct tunnel_handshake *one = NULL;

	lock(h);
	if (!list_is_empty(from)) {
		one = list_entry(from->next, struct tunnel_handshake, link);
		list_del(&one->link);
		one->place = place;
	}
	unlock(h);
	return one;
}

/* The thread. */

static void on_wake(void *arg)
{
	struct hbone_handshaker *h = arg;
	struct tunnel_handshake *one;
	bool is_stopping;

	while ((one = take(h, &h->sent, HANDSHAKE_AWAY)) != NULL) {
		one->loop = h->loop;
		one->scratch = h->scratch;
		handshake_start(one);
	}
	while ((one = take(h, &h->waived, HANDSHAKE_WAIVED)) != NULL)
		handshake_release(one);
	lock(h);
	is_stopping = h->is_stopping;
	unlock(h);
	if (is_stopping)
		loop_stop(h->loop, 0);
}

static void *thread_main(void *arg)
{
	struct hbone_handshaker *h = arg;

	(void)reserve_fill();
	(void)loop_run(h->loop);
	reserve_drop();
	return NULL;
}

/* run() - under the lock. Return: 0; -EAGAIN. */
static int run(struct hbone_handshaker *h)
{
	if (h->is_running)
		return 0;
	if (pthread_create(&h->thread, NULL, thread_main, h) != 0)
		return -EAGAIN;
	(void)pthread_setname_np(h->thread, "handshakes");
	h->is_running = true;
	return 0;
}

void handshaker_return(struct tunnel_handshake *one)
{
	struct hbone_handshaker *h = one->handshaker;
	struct hbone_desk *d = one->desk;
	uint64_t n = 1;

	lock(h);
	if (one->place == HANDSHAKE_AWAY) {
		/* Under the lock: a desk from which nothing comes back may be gone. */
		if (list_is_empty(&d->back))
			(void)!write(d->watch.fd, &n, sizeof(n));
		list_add_tail(&d->back, &one->link);
		one->place = HANDSHAKE_BACK;
	}
	unlock(h);
}

/* The tunnels' threads. */

int handshaker_send(struct tunnel_handshake *one)
{
	struct hbone_handshaker *h = one->desk->handshaker;
	bool is_first;
	int r;

	one->handshaker = h;
	lock(h);
	r = run(h);
	is_first = list_is_empty(&h->sent);
	if (r == 0) {
		list_add_tail(&h->sent, &one->link);
		one->place = HANDSHAKE_SENT;
	}
	unlock(h);
	if (r == 0 && is_first)
		loop_wake(h->loop);
	return r;
}

bool handshaker_recall(struct tunnel_handshake *one)
{
	struct hbone_handshaker *h = one->desk->handshaker;
	bool is_away, is_first;

	lock(h);
	is_away = one->place == HANDSHAKE_AWAY;
	is_first = is_away && list_is_empty(&h->waived);
	if (is_away) {
		list_add_tail(&h->waived, &one->link);
		one->place = HANDSHAKE_WAIVED;
	} else if (one->place != HANDSHAKE_HERE) {
		list_del(&one->link);
		one->place = HANDSHAKE_HERE;
	}
	unlock(h);
	if (is_first)
		loop_wake(h->loop);
	return !is_away;
}

static void on_back(struct loop_fd *w, uint32_t events)
{
	struct hbone_desk *d = container_of(w, struct hbone_desk, watch);
	struct tunnel_handshake *one;
	uint64_t n;

	(void)!read(w->fd, &n, sizeof(n));
	while ((one = take(d->handshaker, &d->back, HANDSHAKE_HERE)) != NULL)
		tunnel_shaken(one->tunnel, one);
}

int hbone_desk_new(struct hbone_handshaker *h, struct loop *loop, struct hbone_desk **ret)
{
	_cleanup_(hbone_desk_freep) struct hbone_desk *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->handshaker = h;
	list_init(&d->back);
	d->watch.on_event = on_back;
	d->watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->watch.fd < 0)
		return -errno;
	r = loop_add(loop, &d->watch, EPOLLIN);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct hbone_desk *hbone_desk_free(struct hbone_desk *d)
{
	if (!d)
		return NULL;
	loop_del(&d->watch);
	(void)close_fd(d->watch.fd);
	free(d);
	return NULL;
}

int hbone_handshaker_new(struct hbone_handshaker **ret)
{
	_cleanup_(hbone_handshaker_freep) struct hbone_handshaker *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	(void)pthread_mutex_init(&h->lock, NULL);
	list_init(&h->sent);
	list_init(&h->waived);
	r = hbone_scratch_new(&h->scratch);
	if (r == 0)
		r = loop_new(&h->loop);
	if (r < 0)
		return r;
	loop_set_wake(h->loop, on_wake, h);
	*ret = TAKE_PTR(h);
	return 0;
}

struct hbone_handshaker *hbone_handshaker_free(struct hbone_handshaker *h)
{
	if (!h)
		return NULL;
	if (h->is_running) {
		lock(h);
		h->is_stopping = true;
		unlock(h);
		loop_wake(h->loop);
		(void)pthread_join(h->thread, NULL);
	}
	h->scratch = hbone_scratch_free(h->scratch);
	h->loop = loop_free(h->loop);
	(void)pthread_mutex_destroy(&h->lock);
	free(h);
	return NULL;
}
