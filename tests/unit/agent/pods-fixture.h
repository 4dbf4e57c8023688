/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pods-fixture - pods of which one, demo/a, is captured, over fake-enrolment.h. For one test
 * program. */
#include "fake-enrolment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

struct fixture {
	struct loop *loop;
	struct pods *pods;
	struct enrolment_context context;
	char dir[40];
};

static inline void path_of(const struct fixture *f, const char *name, char ret[80])
{
	(void)snprintf(ret, 80, "%s/%s", f->dir, name);
}

static inline void namespace_make(const struct fixture *f, const char *name)
{
	char path[80];
	FILE *file;

	path_of(f, name, path);
	file = fopen(path, "we");
	assert_non_null(file);
	(void)fclose(file);
}

static inline void namespace_end(const struct fixture *f, const char *name)
{
	char path[80];

	path_of(f, name, path);
	assert_int_equal(unlink(path), 0);
}

/* Of what is put: no process runs yet. */
static bool is_unstarted;

static inline void put(struct fixture *f, const char *name, const char *netns, const char *ip)
{
	struct podspec *s = calloc(1, sizeof(*s));
	char path[80];

	assert_non_null(s);
	path_of(f, netns, path);
	s->namespace_ = strdup("demo");
	s->name = strdup(name);
	s->key = str_format("demo/%s", name);
	s->service_account = strdup("default");
	s->netns = strdup(path);
	assert_int_equal(cv_addr_parse(ip, &s->ips[0]), 0);
	s->ip_count = 1;
	s->is_unstarted = is_unstarted;
	assert_int_equal(pods_put(f->pods, s), 0);
}

static inline void ack_all(struct fixture *f)
{
	struct enrolment *e;

	list_for_each_entry (e, &f->pods->enrolments, link)
		pods_ack(f->pods, e->cookie, 0);
}

static inline struct enrolment *first(struct fixture *f)
{
	return list_entry(f->pods->enrolments.next, struct enrolment, link);
}

/* One that has its pod's addresses. */
static const char *fitting;

bool __wrap_enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
			   const char *netns);

bool __wrap_enrolment_fits(const struct enrolment_context *ctx, const struct podspec *spec,
			   const char *netns)
{
	return streq(netns, fitting);
}

/* Paths of the namespaces that the pod's processes are in. */
static const char *processes[2];

static bool elsewhere(void *arg, const char *key, bool (*fn)(void *fn_arg, const char *netns),
		      void *fn_arg)
{
	for (size_t i = 0; i < ARRAY_SIZE(processes) && processes[i]; i++)
		if (fn(fn_arg, processes[i]))
			return true;
	return false;
}

static inline int begin(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct pods_config config = {0};

	log_set_level(LOG_ERROR);
	captured = stale = 0;
	stale_dead = 0;
	refresh_result = 0;
	held[0] = '\0';
	is_known_outside = is_unstarted = is_served = is_ztunnel_away = false;
	fitting = unfit = "";
	processes[0] = processes[1] = NULL;
	(void)str_copy(f->dir, sizeof(f->dir), "/tmp/culvert-left-XXXXXX");
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	config.loop = f->loop;
	config.enrolment = &f->context;
	config.is_outside = is_outside;
	config.elsewhere = elsewhere;
	if (pods_new(&config, &f->pods) < 0)
		return -1;
	f->context.others = &pods_others;
	f->context.others_arg = f->pods;
	pods_dests_synced(f->pods, false);
	pods_synced(f->pods);
	namespace_make(f, "a");
	put(f, "a", "a", "10.0.0.2");
	ack_all(f);
	calls[0] = '\0';
	*state = f;
	return 0;
}

static inline int end(void **state)
{
	static const char *const names[] = {"a", "b"};
	struct fixture *f = *state;
	char path[80];

	pods_free(f->pods);
	loop_free(f->loop);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		path_of(f, names[i], path);
		(void)unlink(path);
	}
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

/* As its timers do every second. */
static inline void checks(struct fixture *f, unsigned int n)
{
	while (n-- > 0) {
		f->pods->check.on_timer(&f->pods->check);
		while (f->pods->slice.at_us) {
			loop_timer_del(&f->pods->slice);
			f->pods->slice.on_timer(&f->pods->slice);
		}
	}
}

/* The agent that captured it has ended since, and its object has gone. */
static inline void stale_begin(struct fixture *f)
{
	struct stat st;

	namespace_make(f, "b");
	path_of(f, "b", held);
	assert_int_equal(stat(held, &st), 0);
	stale = (uint64_t)st.st_ino;
	f->pods->has_stale = true;
}

bool datapath_pod_next(struct datapath *d, uint64_t *cookie)
{
	uint64_t next = *cookie < DEAD(0) ? DEAD(0) : *cookie + 1;

	if (stale && *cookie == 0)
		next = stale;
	else if (next >= DEAD(stale_dead))
		return false;
	*cookie = next;
	return true;
}

int datapath_pod_get(struct datapath *d, uint64_t cookie, struct cv_pod *ret)
{
	*ret = (struct cv_pod){.name = "demo/stale", .flags = CV_POD_CAPTURE};
	assert_true(cookie == stale || cookie >= DEAD(0));
	assert_int_equal(cv_addr_parse("10.0.0.9", &ret->addr4), 0);
	return 0;
}
