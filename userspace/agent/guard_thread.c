/* SPDX-License-Identifier: Apache-2.0 */
#include "guard_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/list.h"

#define STACK_BYTES (256 * 1024) /* netlink's answers are read onto it */

/** struct job - one pod. */
struct job {
	struct list link; /* in waiting or done; in neither while it is under way */
	struct guard_thread_want want;
	bool is_muted;  /* nobody is told */
	bool is_undone; /* what is under way, as soon as it is done */
	int r;
	const char *tunnels;
};

struct guard_thread {
	struct loop *loop;
	struct datapath *datapath;
	pthread_t thread;
	bool is_started;
	pthread_mutex_t lock; /* held for a moment only: of all that follows */
	pthread_cond_t more;
	struct list waiting, done;
	struct job *running;
	bool is_ending;
};

static struct job *job_free(struct job *j)
{
	if (!j)
		return NULL;
	list_del(&j->link);
	close_fd(j->want.pod.netns_fd);
	free(j);
	return NULL;
}
DEFINE_CLEANUP(struct job *, job_free);

static void lock(struct guard_thread *t)
{
	(void)pthread_mutex_lock(&t->lock);
}

static void unlock(struct guard_thread *t)
{
	(void)pthread_mutex_unlock(&t->lock);
}

/* Return: NULL: it is to end. */
static struct job *job_await(struct guard_thread *t)
{
	struct job *j = NULL;

	lock(t);
	while (!t->is_ending && list_is_empty(&t->waiting))
		(void)pthread_cond_wait(&t->more, &t->lock);
	if (!t->is_ending) {
		j = list_entry(t->waiting.next, struct job, link);
		list_del(&j->link);
		t->running = j;
	}
	unlock(t);
	return j;
}

static void job_finish(struct guard_thread *t, struct job *j)
{
	lock(t);
	t->running = NULL;
	/* here, before the next one: that may be the same pod's, which is back */
	if (j->is_undone)
		guard_retire(t->datapath, j->want.pod.cookie);
	list_add_tail(&t->done, &j->link);
	unlock(t);
	loop_wake(t->loop);
}

static void *run(void *arg)
{
	struct guard_thread *t = arg;
	struct job *j;

	while ((j = job_await(t))) {
		j->r = guard_attach(t->datapath, &j->want.pod, j->want.bypass, &j->tunnels);
		job_finish(t, j);
	}
	return NULL;
}

static struct job *done_take(struct guard_thread *t)
{
	struct job *j = NULL;

	lock(t);
	if (!list_is_empty(&t->done)) {
		j = list_entry(t->done.next, struct job, link);
		list_del(&j->link);
	}
	unlock(t);
	return j;
}

/* Whoever is told may ask for more, or cancel what has not been told yet. */
static void on_wake(void *arg)
{
	struct guard_thread *t = arg;
	struct job *j;

	while ((j = done_take(t))) {
		if (!j->is_muted)
			j->want.on_done(j->want.arg, j->r, j->tunnels);
		job_free(j);
	}
}

static int start(struct guard_thread *t)
{
	pthread_attr_t attr;
	int r;

	if (t->is_started)
		return 0;
	r = -pthread_attr_init(&attr);
	if (r < 0)
		return r;
	r = -pthread_attr_setstacksize(&attr, STACK_BYTES);
	if (r == 0)
		r = -pthread_create(&t->thread, &attr, run, t);
	(void)pthread_attr_destroy(&attr);
	t->is_started = r == 0;
	return r;
}

int guard_thread_new(struct loop *loop, struct datapath *d, struct guard_thread **ret)
{
	struct guard_thread *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->loop = loop;
	t->datapath = d;
	list_init(&t->waiting);
	list_init(&t->done);
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->more, NULL);
	loop_set_wake(loop, on_wake, t);
	*ret = t;
	return 0;
}

/* Locked. */
static void job_queue(struct guard_thread *t, struct job *j)
{
	struct list *before = &t->waiting;
	struct job *other;

	if (j->want.is_first)
		list_for_each_entry (other, &t->waiting, link)
			if (!other->want.is_first) {
				before = &other->link;
				break;
			}
	list_add_tail(before, &j->link);
}

int guard_thread_attach(struct guard_thread *t, const struct guard_thread_want *want)
{
	_cleanup_(job_freep) struct job *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return -ENOMEM;
	list_init(&j->link);
	j->want = *want;
	/* the namespace is left for another, or closed, while its turn has not come */
	j->want.pod.netns_fd = fcntl(want->pod.netns_fd, F_DUPFD_CLOEXEC, 0);
	if (j->want.pod.netns_fd < 0)
		return -errno;
	r = start(t);
	if (r < 0)
		return r;
	lock(t);
	job_queue(t, TAKE_PTR(j));
	(void)pthread_cond_signal(&t->more);
	unlock(t);
	return 0;
}

bool guard_thread_is_at(struct guard_thread *t, uint64_t cookie)
{
	bool is_at;

	if (!t)
		return false;
	lock(t);
	is_at = t->running && t->running->want.pod.cookie == cookie;
	unlock(t);
	return is_at;
}

static void mute(struct guard_thread *t, const void *arg, bool is_undone)
{
	struct job *j, *tmp;

	if (!t)
		return;
	lock(t);
	list_for_each_entry_safe (j, tmp, &t->waiting, link)
		if (j->want.arg == arg)
			job_free(j);
	list_for_each_entry (j, &t->done, link)
		if (j->want.arg == arg)
			j->is_muted = true;
	if (t->running && t->running->want.arg == arg) {
		t->running->is_muted = true;
		t->running->is_undone |= is_undone;
	}
	unlock(t);
}

void guard_thread_cancel(struct guard_thread *t, const void *arg)
{
	mute(t, arg, true);
}

void guard_thread_mute(struct guard_thread *t, const void *arg)
{
	mute(t, arg, false);
}

static void jobs_free(struct list *jobs)
{
	struct job *j, *tmp;

	list_for_each_entry_safe (j, tmp, jobs, link)
		job_free(j);
}

struct guard_thread *guard_thread_free(struct guard_thread *t)
{
	if (!t)
		return NULL;
	lock(t);
	t->is_ending = true;
	(void)pthread_cond_signal(&t->more);
	unlock(t);
	if (t->is_started)
		(void)pthread_join(t->thread, NULL);
	loop_set_wake(t->loop, NULL, NULL);
	jobs_free(&t->waiting);
	jobs_free(&t->done);
	(void)pthread_cond_destroy(&t->more);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}
