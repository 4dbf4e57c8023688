/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pool_internal.h - shared by pool.c, who wants a tunnel and gets one, pool_tunnel.c, how one is
 * dialled and comes to its end, and pool_close.c, which have to end, and nobody else. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "culvert/abi/addr.h"
#include "hbone/tunnel.h"
#include "tls/identity.h"
#include "ztunnel/pool.h"
#include "ztunnel/stock.h"

struct map;

#define POOL_SWEEP_US (30 * 1000000ULL)

struct pool {
	struct worker *worker;
	struct map *entries; /* key -> struct entry */
	struct buf key;      /* of the look-up that runs */
	struct loop_timer sweep;
	bool is_draining; /* tunnels take no more streams than wait for them */
	bool is_closed;
};

/* One destination as one source sees it. */
struct entry {
	struct pool *pool;
	struct list tunnels; /* struct tunnel.link */
	struct list waiters; /* struct pool_wait.link */
	uint32_t tunnel_count;
	uint32_t dialing_count;
	uint32_t waiter_count;
	struct cv_sockaddr dial;
	char *workload_uid; /* NULL: unknown, not watched */
	uint32_t incarnation;
	void *key;
	size_t key_len;
};

struct tunnel {
	struct list link;
	struct entry *entry;
	struct pod *pod;            /* counted */
	SSL *ssl;                   /* until the tunnel has it */
	struct hbone_tunnel *hbone; /* NULL while waiting for a socket */
	struct dial_wait dial_wait;
	struct loop_timer deadline; /* of the wait for a socket */
	struct loop_task fail;      /* a dial that failed at once is reported from the loop */
	int fail_error;
	uint64_t used_us;
	bool is_ready;
	bool is_leaving; /* takes no new streams */
};

/* In pool.c. */

/** pool_waiters_serve() - as many as the tunnels take. A waiter may ask again, or open no stream,
 * in its callback. */
void pool_waiters_serve(struct entry *e);
void pool_waiters_fail(struct entry *e, enum hbone_stage stage, int error, const char *text);
void pool_entry_free_if_unused(struct entry *e);

/* In pool_tunnel.c. */

/** pool_dial() - start one more tunnel. Its failure comes later, from the loop. Return: 0; -EBUSY
 * too many; -ENOMEM; -errno of tls_expect_identities(). */
int pool_dial(struct entry *e, const struct pool_want *want);
/** pool_tunnel_release() - forget one whose hbone tunnel is none, closed or abandoned. */
void pool_tunnel_release(struct tunnel *t);

/* In pool_close.c. */

/** pool_on_sweep() - on_timer of the sweep: tunnels that have been idle for long go. */
void pool_on_sweep(struct loop_timer *timer);
/** pool_is_gone() - the workload it leads to is gone, or is another pod by now. */
bool pool_is_gone(const struct entry *e);
