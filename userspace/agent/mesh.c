/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "destmap.h"
#include "map_keys.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/client.h"
#include "xds/client_id.h"
#include "xds/unpack.h"

/* Of what has lingered, in one turn of the loop: a millisecond's or two. */
#define END_AT_ONCE 1000

#define UNPACK_BLOCK 1000

/* cv_fresh_until: while the control plane tells us what there is. An agent that has died, or hangs,
 * does not write, and the time runs out. */
#define FRESH_FOR_US   (3 * 1000000ULL)
#define FRESH_AGAIN_US (1 * 1000000ULL)

struct mesh;

/* One of the maps, and which datapath map it is. */
struct mesh_map {
	struct mesh *mesh;
	enum datapath_map where;
	struct destmap_ops ops;
	struct destmap *destmap;
};

struct mesh {
	struct mesh_config config;
	struct dests *dests;
	struct xds_client *xds;
	struct loop_timer lingering;
	unsigned int came_whole; /* types, since the stream is open */
	bool is_synced;          /* both did on one stream, once */
	bool was_connected;
	bool is_registry_only;
	bool is_foreign; /* the control plane that told us all is not ours */
	struct mesh_map maps[DESTS_MAP_MAX];
	bool is_told, is_incomplete; /* as last told to on_incomplete() */
	struct loop_timer fresh;
};

static const enum datapath_map places[DESTS_MAP_MAX] = {
	[DESTS_WORKLOADS] = DATAPATH_WORKLOADS,
	[DESTS_SERVICES] = DATAPATH_SERVICES,
	[DESTS_RANGES] = DATAPATH_RANGES,
	[DESTS_REGISTERED] = DATAPATH_REGISTERED,
};

static const char *const names[DESTS_MAP_MAX] = {
	[DESTS_WORKLOADS] = "cv_workloads",
	[DESTS_SERVICES] = "cv_services",
	[DESTS_RANGES] = "cv_ranges",
	[DESTS_REGISTERED] = "cv_registered",
};

/* Whether every destination has its place. What has none must not pass in plaintext. Nor what a
 * control plane that is not ours has not told us of: it does not say what addresses pods have, and
 * so any address may be that of a pod that ztunnel knows before we do. */
static void incomplete_tell(struct mesh *m)
{
	bool is_incomplete = m->is_foreign;

	for (int i = 0; i < DESTS_MAP_MAX; i++)
		is_incomplete |= !destmap_is_complete(m->maps[i].destmap);
	/* before all is known, that nothing was left out says nothing: earlier pods' word stays */
	if (!m->is_synced && !is_incomplete)
		return;
	if (m->is_told && is_incomplete == m->is_incomplete)
		return;
	m->is_told = true;
	m->is_incomplete = is_incomplete;
	m->config.on_incomplete(m->config.arg, is_incomplete);
}

static void on_entry(void *arg, enum dests_map map, const void *key, const struct cv_dest *dest)
{
	struct mesh *m = arg;
	int r = destmap_put(m->maps[map].destmap, key, dest);

	if (r == 0)
		return;
	if (!m->is_told || !m->is_incomplete)
		log_error_errno("agent", r,
				"no room for a destination: what the maps do not know goes to "
				"ztunnel map=%s name=%.63s",
				names[map], dest->name);
	incomplete_tell(m);
}

static void on_gone(void *arg, enum dests_map map, const void *key)
{
	const struct mesh *m = arg;

	destmap_del(m->maps[map].destmap, key);
}

static const struct dests_ops dests_ops = {.on_entry = on_entry, .on_gone = on_gone};

static void on_frontend(void *arg, const struct cv_service_key *key,
			const struct cv_frontend *frontend)
{
	const struct mesh *m = arg;
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_FRONTENDS);
	struct cv_frontend now = *frontend, before;

	if (bpf_map_lookup_elem(fd, key, &before) == 0) {
		now.refused_s = before.refused_s; /* the programs' own */
		if (memcmp(&now, &before, sizeof(now)) == 0)
			return;
	}
	if (datapath_put(m->config.datapath, DATAPATH_FRONTENDS, key, &now) < 0)
		(void)bpf_map_delete_elem(fd, key); /* rather none than an old one */
}

static void on_frontend_gone(void *arg, const struct cv_service_key *key)
{
	const struct mesh *m = arg;

	(void)bpf_map_delete_elem(datapath_map_fd(m->config.datapath, DATAPATH_FRONTENDS), key);
}

static const struct frontends_ops frontends_ops = {on_frontend, on_frontend_gone};

static int map_fd(const struct mesh_map *map)
{
	return datapath_map_fd(map->mesh->config.datapath, map->where);
}

static int entry_write(void *arg, const void *key, const struct cv_dest *dest)
{
	const struct mesh_map *map = arg;

	return datapath_put(map->mesh->config.datapath, map->where, key, dest);
}

static void entry_erase(void *arg, const void *key)
{
	(void)bpf_map_delete_elem(map_fd(arg), key);
}

/* What an earlier agent wrote and the control plane no longer knows. */
static void sweep(const struct mesh *m, enum dests_map which)
{
	int fd = map_fd(&m->maps[which]);
	struct cv_range_key key, next = {0}; /* the largest of their keys */

	map_keys_each (fd, key, next)
		if (!dests_has(m->dests, which, &key))
			(void)bpf_map_delete_elem(fd, &key);
}

static void sweep_frontends(const struct mesh *m)
{
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_FRONTENDS);
	struct cv_service_key key, next;

	map_keys_each (fd, key, next)
		if (!dests_has_frontend(m->dests, &key))
			(void)bpf_map_delete_elem(fd, &key);
}

static void fresh_write(const struct mesh *m, uint64_t until_us)
{
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_FRESH_UNTIL);
	__u64 until_ns = until_us * 1000;
	__u32 zero = 0;

	(void)bpf_map_update_elem(fd, &zero, &until_ns, BPF_ANY);
}

static void on_fresh(struct loop_timer *t)
{
	struct mesh *m = container_of(t, struct mesh, fresh);

	fresh_write(m, now_monotonic_us() + FRESH_FOR_US);
	(void)loop_timer_set(m->config.loop, t, FRESH_AGAIN_US);
}

/* Nodes come before the configuration, from a control plane that has them to tell. One that is not
 * ours has neither, and sends all addresses in one response. */
static bool has_all(const struct mesh *m)
{
	unsigned int all = 1u << XDS_ADDRESS;

	if (xds_client_part(m->xds) != XDS_PART_UNSAID)
		all |= 1u << XDS_NODE_CONFIG;
	return (m->came_whole & all) == all;
}

static void foreign_note(struct mesh *m)
{
	bool is_foreign = xds_client_part(m->xds) == XDS_PART_UNSAID;

	if (!has_all(m) || m->is_foreign == is_foreign)
		return;
	m->is_foreign = is_foreign;
	if (is_foreign)
		log_info("agent", "the control plane is not Culvert's: what no address is known "
				  "of goes to ztunnel, and Istio's defaults hold");
}

/* What came while we were not connected is here once each type has come whole. */
static void fresh_note(struct mesh *m)
{
	if (has_all(m) && !m->fresh.at_us && xds_client_part(m->xds) != XDS_PART_MORE)
		on_fresh(&m->fresh);
}

static void fresh_end(struct mesh *m)
{
	m->came_whole = 0;
	loop_timer_del(&m->fresh);
	fresh_write(m, 0);
}

/* Filled before a pod refuses what is not there, emptied after. Not told before everything is
 * known: what an earlier agent left holds until then. */
static void registry_tell(struct mesh *m)
{
	if (m->is_registry_only)
		dests_registry(m->dests, true);
	if (m->is_synced)
		m->config.on_registry_only(m->config.arg, m->is_registry_only);
	if (!m->is_registry_only)
		dests_registry(m->dests, false);
}

static int put_config(struct mesh *m, const void *packed, size_t len)
{
	_cleanup_(unpack_resetp) struct unpack unpack;
	const Culvert__Node__Config *c;

	unpack_init(&unpack, UNPACK_BLOCK);
	c = culvert__node__config__unpack(&unpack.memory, len, packed);
	if (!c)
		return unpack_error(&unpack);
	/* a word that is newer than we are refuses more, not less */
	m->is_registry_only =
		c->outbound_traffic != CULVERT__NODE__CONFIG__OUTBOUND_TRAFFIC__ALLOW_ANY;
	return 0;
}

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len, char *err, size_t err_size)
{
	struct mesh *m = arg;
	int r = 0;

	if (type == XDS_NODE_CONFIG)
		r = put_config(m, packed, len);
	else if (type == XDS_ADDRESS)
		r = dests_put(m->dests, name, packed, len);
	else if (type == XDS_NODE)
		r = dests_put_node(m->dests, name, packed, len);
	if (r == -EBADMSG)
		(void)snprintf(err, err_size, "%s: not a valid %s", name, xds_type_url(type));
	return r;
}

static int on_removed(void *arg, enum xds_type type, const char *name)
{
	struct mesh *m = arg;

	if (type == XDS_ADDRESS)
		dests_remove(m->dests, name);
	else if (type == XDS_NODE)
		dests_remove_node(m->dests, name);
	else if (type == XDS_NODE_CONFIG)
		m->is_registry_only = false;
	return 0;
}

static int for_each_held(void *arg, enum xds_type type, int (*fn)(void *arg, const char *name),
			 void *fn_arg)
{
	const struct mesh *m = arg;

	if (type == XDS_NODE)
		return dests_for_each_node(m->dests, fn, fn_arg);
	return type == XDS_ADDRESS ? dests_for_each_name(m->dests, fn, fn_arg) : 0;
}

static void lingering_wait(struct mesh *m)
{
	uint64_t end_us = dests_next_end(m->dests), now_us = now_monotonic_us();

	if (end_us)
		(void)loop_timer_set(m->config.loop, &m->lingering,
				     end_us > now_us ? end_us - now_us : 0);
}

static void on_lingering(struct loop_timer *t)
{
	struct mesh *m = container_of(t, struct mesh, lingering);

	dests_end(m->dests, now_monotonic_us(), END_AT_ONCE);
	incomplete_tell(m); /* there is room for what was missing */
	lingering_wait(m);
}

static void on_update_done(void *arg, enum xds_type type)
{
	struct mesh *m = arg;
	bool is_first;

	dests_flush(m->dests);
	m->came_whole |= 1u << type;
	is_first = !m->is_synced && has_all(m);
	m->is_synced |= is_first;
	foreign_note(m);
	if (type == XDS_NODE_CONFIG || is_first)
		registry_tell(m);
	for (int i = 0; i < DESTS_MAP_MAX; i++) {
		if (is_first)
			sweep(m, (enum dests_map)i);
		destmap_retry(m->maps[i].destmap);
	}
	incomplete_tell(m);
	lingering_wait(m);
	if (is_first)
		sweep_frontends(m);
	if (is_first)
		m->config.on_synced(m->config.arg);
	fresh_note(m);
}

static void on_state(void *arg, bool is_connected)
{
	struct mesh *m = arg;

	if (is_connected == m->was_connected)
		return;
	m->was_connected = is_connected;
	fresh_end(m);
	if (is_connected)
		log_info("agent", "connected to the control plane");
	else
		log_warn("agent", "the control plane is away: what is known stays in force");
}

static void on_failure(void *arg, const char *why)
{
	log_warn("agent", "control plane not reached: %s", why);
}

static const struct xds_ops xds_ops = {
	.on_resource = on_resource,
	.on_removed = on_removed,
	.for_each_held = for_each_held,
	.on_update_done = on_update_done,
	.on_state = on_state,
	.on_failure = on_failure,
};

static int maps_new(struct mesh *m)
{
	int r = 0;

	for (int i = 0; i < DESTS_MAP_MAX && r == 0; i++) {
		struct mesh_map *map = &m->maps[i];

		map->mesh = m;
		map->where = places[i];
		map->ops = (struct destmap_ops){dests_key_len((enum dests_map)i), entry_write,
						entry_erase};
		r = destmap_new(&map->ops, map, &map->destmap);
	}
	return r;
}

int mesh_new(const struct mesh_config *config, struct mesh **ret)
{
	_cleanup_(mesh_freep) struct mesh *m = calloc(1, sizeof(*m));
	_cleanup_(freep) char *id = str_format(CLIENT_ID_AGENT_FORMAT, config->node);
	struct xds_client_config xds = {
		.loop = config->loop,
		.target = config->target,
		.node_id = id,
		.node_name = config->node,
		.version = CULVERT_VERSION,
		.types = 1u << XDS_ADDRESS | 1u << XDS_NODE | 1u << XDS_NODE_CONFIG,
		.ops = &xds_ops,
		.arg = m,
	};
	struct dests_config dests = {
		.node = config->node,
		.ops = &dests_ops,
		.frontends_ops = &frontends_ops,
		.arg = m,
	};
	int r;

	if (!m || !id)
		return -ENOMEM;
	m->config = *config;
	m->fresh.on_timer = on_fresh;
	m->lingering.on_timer = on_lingering;
	fresh_write(m, 0);
	r = maps_new(m);
	if (r == 0)
		r = dests_new(&dests, &m->dests);
	if (r == 0)
		r = xds_client_new(&xds, &m->xds);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

struct mesh *mesh_free(struct mesh *m)
{
	if (!m)
		return NULL;
	loop_timer_del(&m->lingering);
	xds_client_free(m->xds);
	loop_timer_del(&m->fresh);
	dests_free(m->dests);
	for (int i = 0; i < DESTS_MAP_MAX; i++)
		destmap_free(m->maps[i].destmap);
	free(m);
	return NULL;
}

const struct dests *mesh_dests(const struct mesh *m)
{
	return m->dests;
}

bool mesh_is_connected(const struct mesh *m)
{
	return xds_client_is_connected(m->xds);
}

const char *mesh_failure(const struct mesh *m)
{
	return xds_client_failure(m->xds);
}
