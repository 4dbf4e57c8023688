/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fake-enrolment - what pods stand on, as a record of what was done: enrolments, an earlier agent's
 * maps, and what holds a namespace. Files stand for namespaces. For one test program. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/str.h"
#include "net/addr.h"
#include "tests/unit/agent/fake-netns.h"
#include "userspace/agent/adopt.h"
#include "userspace/agent/enrolment_private.h"
#include "userspace/agent/pods_private.h"

/* "capture:demo/a uncapture:demo/a " */
static char calls[2048];
/* As the maps would: the cookie of a captured namespace. */
static uint64_t captured;
static int refresh_result;
static unsigned int refreshes;
/* What an earlier agent left in the maps; 0: nothing. */
static uint64_t stale;
/* The same, of which nothing lives. */
#define DEAD(i) ((1ULL << 62) + (i))
static unsigned int stale_dead;
static bool is_known_outside;
/* By an earlier ztunnel; and none is connected. */
static bool is_served, is_ztunnel_away;
static unsigned int synced_sent;
/* A namespace without its pod's addresses. */
static const char *unfit = "";

static void note(const char *what, const char *key)
{
	size_t n = strlen(calls);

	(void)snprintf(calls + n, sizeof(calls) - n, "%s:%s ", what, key);
}

/* ---- what the pods stand on ---- */

int enrolment_open(const struct enrolment_context *ctx, const struct podspec *spec,
		   struct enrolment **ret, char *err, size_t err_size)
{
	struct enrolment *e = calloc(1, sizeof(*e));
	struct stat st;

	assert_non_null(e);
	if (stat(spec->netns, &st) < 0) {
		(void)str_copy(err, err_size, "no namespace");
		free(e);
		return streq(spec->netns, unfit) ? -EINVAL : -ENOENT;
	}
	e->ctx = ctx;
	e->netns_fd = -EBADF;
	e->file = (struct netns_file){.dev = st.st_dev, .ino = st.st_ino};
	e->cookie = (uint64_t)st.st_ino;
	e->is_captured = e->is_adopted = captured == e->cookie;
	e->addrs.all[0] = spec->ips[0];
	e->addrs.count = e->addrs.own_count = 1;
	list_init(&e->link);
	(void)str_copy(e->key, sizeof(e->key), spec->key);
	*ret = e;
	return 0;
}

struct enrolment *enrolment_forget(struct enrolment *e)
{
	if (!e)
		return NULL;
	loop_timer_del(&e->timer);
	list_del(&e->link);
	free(e);
	return NULL;
}

struct enrolment *enrolment_close(struct enrolment *e)
{
	note("close", e->key);
	if (captured == e->cookie) /* as the map's entry */
		captured = 0;
	return enrolment_forget(e);
}

int enrolment_offer(struct enrolment *e, const struct podspec *spec, struct zds_pod_add *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->h.type = ZDS_POD_ADD;
	note("offer", spec->key);
	return 0;
}

int enrolment_capture(struct enrolment *e, bool has_dns)
{
	note("capture", e->key);
	e->entry.flags = CV_POD_CAPTURE | CV_POD_ALIVE;
	e->is_captured = true;
	captured = e->cookie;
	return 0;
}

int enrolment_recapture(struct enrolment *e, bool has_dns)
{
	note("recapture", e->key);
	e->is_captured = true;
	return 0;
}

void enrolment_uncapture(struct enrolment *e)
{
	note("uncapture", e->key);
	e->is_captured = false;
	if (captured == e->cookie)
		captured = 0;
}

void enrolment_unsteer(struct enrolment *e)
{
}

bool enrolment_ztunnel_lost(struct enrolment *e)
{
	bool had_it = e->is_acked;

	e->is_offered = e->is_acked = false;
	if (!had_it && is_served)
		return true;
	e->entry.flags &= ~(unsigned int)CV_POD_ALIVE;
	return false;
}

int enrolment_seal(struct enrolment *e, bool has_dns, bool is_blind)
{
	if (e->is_captured)
		return 0;
	note("seal", e->key);
	e->is_captured = true;
	captured = e->cookie;
	return 0;
}

void enrolment_see(struct enrolment *e)
{
}

void enrolment_flags_refresh(struct enrolment *e)
{
}

void enrolment_guard(struct enrolment *e)
{
}

void enrolment_reroute(struct enrolment *e, const struct podspec *spec, bool is_whole)
{
}

void enrolment_rules(struct enrolment *e, const struct podspec *spec)
{
	note("rules", e->key);
}

int __wrap_enrolment_refresh(struct enrolment *e, const struct podspec *spec);

int __wrap_enrolment_refresh(struct enrolment *e, const struct podspec *spec)
{
	note("refresh", e->key);
	refreshes++;
	return refresh_result;
}

void enrolment_rules_forget(const struct enrolment *e)
{
}

void enrolment_entry_init(struct enrolment *e)
{
}

static void addr_note(const char *what, const struct cv_addr *addr)
{
	char text[CV_ADDR_STRLEN];

	note(what, cv_addr_format(addr, text));
}

void datapath_steer_del(struct datapath *d, const struct cv_addr *addr)
{
	addr_note("unsteer", addr);
}

void datapath_local_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
}

void datapath_pod_addr_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
}

int datapath_map_fd(const struct datapath *d, enum datapath_map map)
{
	return -1;
}

bool datapath_lookup_is_alone(int netns_fd)
{
	return true;
}

bool adopt_sweep(struct datapath *d, const struct adopt_ops *ops, void *arg)
{
	while (stale_dead > 0 && !ops->is_left(arg, DEAD(stale_dead - 1), "demo/dead"))
		stale_dead--;
	if (!stale || ops->is_owned(arg, stale))
		return stale_dead > 0;
	if (ops->is_left(arg, stale, "demo/stale"))
		return true;
	note("release", "demo/stale");
	stale = 0;
	return false;
}

static bool is_outside(void *arg, const char *name, const struct netns_file *file)
{
	assert_string_equal(name, "demo/stale");
	return is_known_outside;
}

bool zds_is_connected(const struct zds *z)
{
	return !is_ztunnel_away;
}

int zds_send(struct zds *z, struct zds_header *msg, size_t len, const int *fds, size_t fd_count)
{
	synced_sent += msg->type == ZDS_SYNCED;
	return 0;
}
