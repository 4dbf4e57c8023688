/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* ads - client and server over a real UNIX socket, in one loop. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"
#include "base/str.h"
#include "net/unix.h"
#include "tests/unit/turn.h"
#include "xds/client.h"
#include "xds/server.h"

#define MANY 5000

struct fixture {
	struct loop *loop;
	char dir[64], path[96];
	struct xds_server *xds;
	struct grpc_server *grpc;
	struct grpc_method method;
	struct xds_client *client;
	struct map *held[XDS_TYPE_MAX]; /* name -> strdup of the bytes */
	size_t n_resources, n_removed, n_done[XDS_TYPE_MAX];
	size_t n_before_config;                /* resources, when the first configuration came */
	enum xds_part parts[MANY / 1024 + 16]; /* of the first responses, in their order */
	size_t n_parts, n_whole;
	void (*on_done)(struct fixture *f, enum xds_type type);
	bool is_connected;
	size_t n_failures;
	char failure[512];
	const char *refused; /* name that on_resource() refuses */
	const char *lost;    /* and one that it has no memory for */
	const char *kept;    /* nor on_removed() for this one */
	struct xds_server_client seen;
	char seen_detail[512];
	size_t n_seen;
};

static inline int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
			      size_t len, char *err, size_t err_size)
{
	struct fixture *f = arg;

	f->n_resources++;
	if (f->refused && streq(f->refused, name)) {
		(void)snprintf(err, err_size, "do not like it");
		return -EINVAL;
	}
	if (f->lost && streq(f->lost, name))
		return -ENOMEM;
	free(map_get_str(f->held[type], name));
	assert_int_equal(map_put_str(f->held[type], name, strndup(packed, len)), 0);
	return 0;
}

static inline int for_each_held(void *arg, enum xds_type type,
				int (*fn)(void *arg, const char *name), void *fn_arg)
{
	const struct fixture *f = arg;
	int r = 0;

	map_for_each (f->held[type], it)
		if (r == 0)
			r = fn(fn_arg, it.key);
	return r;
}

static inline int on_removed(void *arg, enum xds_type type, const char *name)
{
	struct fixture *f = arg;

	if (f->kept && streq(f->kept, name))
		return -ENOMEM;
	f->n_removed++;
	free(map_del_str(f->held[type], name));
	return 0;
}

static inline void on_update_done(void *arg, enum xds_type type)
{
	struct fixture *f = arg;

	if (type == XDS_NODE_CONFIG && f->n_done[type] == 0)
		f->n_before_config = f->n_resources;
	f->n_done[type]++;
	if (f->n_parts < ARRAY_SIZE(f->parts))
		f->parts[f->n_parts++] = xds_client_part(f->client);
	f->n_whole += xds_client_part(f->client) == XDS_PART_WHOLE;
	if (f->on_done)
		f->on_done(f, type);
}

static inline void on_state(void *arg, bool is_connected)
{
	struct fixture *f = arg;

	assert_true(f->is_connected != is_connected);
	f->is_connected = is_connected;
}

static inline void on_failure(void *arg, const char *why)
{
	struct fixture *f = arg;

	f->n_failures++;
	(void)str_copy(f->failure, sizeof(f->failure), why);
}

static const struct xds_ops ops = {on_resource,    on_removed, for_each_held,
				   on_update_done, on_state,   on_failure};

static inline void server_start(struct fixture *f)
{
	struct grpc_server_config config = {
		.loop = f->loop, .methods = &f->method, .n_methods = 1, .max_connections = 8};

	assert_int_equal(xds_server_new(f->loop, &f->xds), 0);
	f->method = xds_server_method(f->xds);
	assert_int_equal(unix_stream_listen(f->path, 0600, &config.listen_fd), 0);
	assert_int_equal(grpc_server_new(&config, &f->grpc), 0);
}

static inline void server_stop(struct fixture *f)
{
	f->grpc = grpc_server_free(f->grpc);
	f->xds = xds_server_free(f->xds);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct xds_client_config config = {
		.node_id = "ztunnel~1.1.1.1~z.ns~ns.svc.cluster.local",
		.node_name = "n1",
		.version = "v7",
		.types = 1u << XDS_ADDRESS | 1u << XDS_AUTHORIZATION | 1u << XDS_NODE |
			 1u << XDS_NODE_CONFIG,
		.ops = &ops,
		.arg = f,
	};

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/culvert-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->path, sizeof(f->path), "%s/xds.sock", f->dir);
	assert_int_equal(loop_new(&f->loop), 0);
	for (int i = 0; i < XDS_TYPE_MAX; i++)
		assert_int_equal(map_new(&f->held[i]), 0);
	server_start(f);
	config.loop = f->loop;
	config.target.path = f->path;
	assert_int_equal(xds_client_new(&config, &f->client), 0);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	(void)xds_client_free(f->client);
	server_stop(f);
	(void)loop_free(f->loop);
	for (int i = 0; i < XDS_TYPE_MAX; i++) {
		map_for_each (f->held[i], it)
			free(it.value);
		(void)map_free(f->held[i]);
	}
	(void)unlink(f->path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static inline void set(struct fixture *f, enum xds_type type, const char *name, const char *bytes)
{
	assert_int_equal(xds_server_set(f->xds, type, name, bytes, strlen(bytes)), 0);
}

/* One of MANY; overwritten by the next. */
static inline const char *name_of(int i)
{
	static char name[32];

	(void)snprintf(name, sizeof(name), "w%d", i);
	return name;
}

static inline void set_many(struct fixture *f)
{
	for (int i = 0; i < MANY; i++)
		set(f, XDS_ADDRESS, name_of(i), name_of(i));
}

static inline const char *held(struct fixture *f, enum xds_type type, const char *name)
{
	return map_get_str(f->held[type], name);
}

static inline void run_a_while(struct fixture *f, int ms)
{
	uint64_t end = now_monotonic_us() + (uint64_t)ms * 1000;

	while (now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 5);
}

/* Until @n updates of the type were done. */
static inline void run_until_done(struct fixture *f, enum xds_type type, size_t n)
{
	uint64_t end = now_monotonic_us() + 20000000;

	while (f->n_done[type] < n && now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 50);
	assert_true(f->n_done[type] >= n);
}

static inline void on_client(void *arg, const struct xds_server_client *client)
{
	struct fixture *f = arg;

	f->n_seen++;
	f->seen = *client;
	(void)snprintf(f->seen_detail, sizeof(f->seen_detail), "%s", client->nack_detail);
}

static inline void look(struct fixture *f)
{
	f->n_seen = 0;
	xds_server_for_each_client(f->xds, on_client, f);
}

/* run_until() - the server has counted @n of them. */
static inline void run_until(struct fixture *f, const uint64_t *counted, uint64_t n)
{
	turn_until(f->loop, 20000, *counted >= n);
	assert_int_equal(*counted, n);
}
