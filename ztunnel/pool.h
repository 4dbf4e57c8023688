/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pool - a worker's own tunnels to other nodes, shared by the connections with the same source pod,
 * source identity, destination and acceptable identities. Thread: the worker's. Failed dials fail
 * those who wait, nothing is retried here. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "culvert/abi/addr.h"
#include "hbone/tunnel.h"

struct pod;
struct pool; /* opaque */
struct tls_identity;
struct upstream;
struct worker;

/* Tunnels of one key, and connections that wait for one to come up. */
#define POOL_TUNNELS_MAX 256
#define POOL_WAITERS_MAX 20000
/* A second tunnel is opened when the first carries this many streams: one busy pair is not to be
 * one core. */
#define POOL_SPREAD_STREAMS 4
#define POOL_SPREAD_TUNNELS 2
#define POOL_IDLE_US        (5 * 60 * 1000000ULL)

/** struct pool_wait - who wants a tunnel; embedded. The owner has the deadline. */
struct pool_wait {
	struct list link;
	/* @s: open a stream now; or NULL and why: @stage, @error (-errno), @text.
	 * -EAGAIN: those that there are took others; resolve and ask again. */
	void (*on_tunnel)(struct pool_wait *w, struct hbone_session *s, enum hbone_stage stage,
			  int error, const char *text);
	void *_entry; /* pool.c's */
};

/** struct pool_want - what for; borrowed for the call. */
struct pool_want {
	struct pod *pod;                     /* dials */
	const struct tls_identity *identity; /* its certificate */
	const struct upstream *upstream;     /* HBONE */
};

_must_check_ int pool_new(struct worker *w, struct pool **ret);
/** pool_free() - closes every tunnel at once; waiters get -ESHUTDOWN. Takes NULL. Return: NULL. */
struct pool *pool_free(struct pool *p);
DEFINE_CLEANUP(struct pool *, pool_free);
/**
 * pool_get() - a tunnel that takes a stream
 * @ret: set when there is one now.
 * Return: 0; -EAGAIN: on_tunnel will be called; -EINVAL no identities to expect; -EBUSY too many
 * tunnels or waiters; -ENOMEM.
 */
_must_check_ int pool_get(struct pool *p, const struct pool_want *want, struct pool_wait *wait,
			  struct hbone_session **ret);
/** pool_wait_cancel() - harmless when it does not wait; @w zero or used before. */
void pool_wait_cancel(struct pool_wait *w);
/** pool_on_state() - a new snapshot: tunnels to workloads that are gone or are another pod by now
 * close at once. */
void pool_on_state(struct pool *p);
/** pool_on_trust() - other revocation lists or trust domains: cut every tunnel whose server is no
 * longer accepted. */
void pool_on_trust(struct pool *p);
/** pool_drain() - GOAWAY on all, once those who wait have their streams. Who asks later gets a
 * tunnel that does the same. */
void pool_drain(struct pool *p);
