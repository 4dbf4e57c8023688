/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "destmap.h"
#include "net/addr.h"
#include "xds/client.h"

struct mesh {
	struct mesh_config config;
	struct dests *dests;
	struct xds_client *xds;
	bool is_synced, was_connected;
	struct destmap *workloads, *services;
	bool is_told, is_incomplete; /* as last told to on_incomplete() */
};

/* Whether every destination has its place. What has none must not pass in plaintext. */
static void incomplete_tell(struct mesh *m)
{
	bool is_incomplete =
		!destmap_is_complete(m->workloads) || !destmap_is_complete(m->services);

	if (m->is_told && is_incomplete == m->is_incomplete)
		return;
	m->is_told = true;
	m->is_incomplete = is_incomplete;
	m->config.on_incomplete(m->config.arg, is_incomplete);
}

static void put(struct mesh *m, struct destmap *map, const void *key, const struct cv_dest *dest)
{
	int r = destmap_put(map, key, dest);

	if (r == 0)
		return;
	if (!m->is_told || !m->is_incomplete)
		log_error_errno("agent", r,
				"no room for a mesh destination: what the maps do not know goes to "
				"ztunnel map=%s name=%.63s",
				map == m->workloads ? "cv_workloads" : "cv_services", dest->name);
	incomplete_tell(m);
}

static void on_workload(void *arg, const struct cv_addr *addr, const struct cv_dest *dest)
{
	struct mesh *m = arg;

	put(m, m->workloads, addr, dest);
}

static void on_workload_gone(void *arg, const struct cv_addr *addr)
{
	const struct mesh *m = arg;

	destmap_del(m->workloads, addr);
}

static void on_service(void *arg, const struct cv_service_key *key, const struct cv_dest *dest)
{
	struct mesh *m = arg;

	put(m, m->services, key, dest);
}

static void on_service_gone(void *arg, const struct cv_service_key *key)
{
	const struct mesh *m = arg;

	destmap_del(m->services, key);
}

static void on_frontend(void *arg, const struct cv_service_key *key,
			const struct cv_frontend *frontend)
{
	const struct mesh *m = arg;
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_FRONTENDS);

	if (bpf_map_update_elem(fd, key, frontend, BPF_ANY) == 0)
		return;
	(void)bpf_map_delete_elem(fd, key); /* rather none than an old one */
	log_debug("agent", "no room for a frontend: its connections use the tunnel");
}

static void on_frontend_gone(void *arg, const struct cv_service_key *key)
{
	const struct mesh *m = arg;

	(void)bpf_map_delete_elem(datapath_map_fd(m->config.datapath, DATAPATH_FRONTENDS), key);
}

static int workload_write(void *arg, const void *key, const struct cv_dest *dest)
{
	const struct mesh *m = arg;

	return bpf_map_update_elem(datapath_map_fd(m->config.datapath, DATAPATH_WORKLOADS), key,
				   dest, BPF_ANY);
}

static void workload_erase(void *arg, const void *key)
{
	const struct mesh *m = arg;

	(void)bpf_map_delete_elem(datapath_map_fd(m->config.datapath, DATAPATH_WORKLOADS), key);
}

static int service_write(void *arg, const void *key, const struct cv_dest *dest)
{
	const struct mesh *m = arg;

	return bpf_map_update_elem(datapath_map_fd(m->config.datapath, DATAPATH_SERVICES), key,
				   dest, BPF_ANY);
}

static void service_erase(void *arg, const void *key)
{
	const struct mesh *m = arg;

	(void)bpf_map_delete_elem(datapath_map_fd(m->config.datapath, DATAPATH_SERVICES), key);
}

static const struct destmap_ops workload_ops = {sizeof(struct cv_addr), workload_write,
						workload_erase};
static const struct destmap_ops service_ops = {sizeof(struct cv_service_key), service_write,
					       service_erase};

static const struct dests_ops dests_ops = {
	.on_workload = on_workload,
	.on_workload_gone = on_workload_gone,
	.on_service = on_service,
	.on_service_gone = on_service_gone,
};

static const struct frontends_ops frontends_ops = {on_frontend, on_frontend_gone};

/* What an earlier agent wrote and the control plane no longer knows. */
static void sweep_workloads(const struct mesh *m)
{
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_WORKLOADS);
	struct cv_addr key, next;
	bool has_next = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (has_next) {
		key = next;
		has_next = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (!dests_has_workload(m->dests, &key))
			(void)bpf_map_delete_elem(fd, &key);
	}
}

static void sweep_services(const struct mesh *m, enum datapath_map map,
			   bool (*has)(const struct dests *d, const struct cv_service_key *key))
{
	int fd = datapath_map_fd(m->config.datapath, map);
	struct cv_service_key key, next;
	bool has_next = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (has_next) {
		key = next;
		has_next = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (!has(m->dests, &key))
			(void)bpf_map_delete_elem(fd, &key);
	}
}

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len, char *err, size_t err_size)
{
	const struct mesh *m = arg;
	int r;

	if (type != XDS_ADDRESS)
		return 0;
	r = dests_put(m->dests, name, packed, len);
	if (r == -EBADMSG)
		(void)snprintf(err, err_size, "%s: not a valid istio.workload.Address", name);
	return r;
}

static void on_removed(void *arg, enum xds_type type, const char *name)
{
	const struct mesh *m = arg;

	if (type == XDS_ADDRESS)
		dests_remove(m->dests, name);
}

static void on_update_done(void *arg, enum xds_type type)
{
	struct mesh *m = arg;

	if (type != XDS_ADDRESS)
		return;
	if (!m->is_synced) {
		sweep_workloads(m);
		sweep_services(m, DATAPATH_SERVICES, dests_has_service);
		sweep_services(m, DATAPATH_FRONTENDS, dests_has_frontend);
	}
	destmap_retry(m->workloads);
	destmap_retry(m->services);
	incomplete_tell(m);
	if (m->is_synced)
		return;
	m->is_synced = true;
	m->config.on_synced(m->config.arg);
}

static void on_state(void *arg, bool is_connected)
{
	struct mesh *m = arg;

	if (is_connected == m->was_connected)
		return;
	m->was_connected = is_connected;
	if (is_connected)
		log_info("agent", "connected to the control plane");
	else
		log_warn("agent", "the control plane is away: what is known stays in force");
}

static const struct xds_ops xds_ops = {
	.on_resource = on_resource,
	.on_removed = on_removed,
	.on_update_done = on_update_done,
	.on_state = on_state,
};

int mesh_new(const struct mesh_config *config, struct mesh **ret)
{
	_cleanup_(mesh_freep) struct mesh *m = calloc(1, sizeof(*m));
	_cleanup_(freep) char *id = str_format("agent~%s", config->node);
	struct xds_client_config xds = {
		.loop = config->loop,
		.path = config->path,
		.node_id = id,
		.node_name = config->node,
		.types = 1u << XDS_ADDRESS,
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
	r = destmap_new(&workload_ops, m, &m->workloads);
	if (r == 0)
		r = destmap_new(&service_ops, m, &m->services);
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
	xds_client_free(m->xds);
	dests_free(m->dests);
	destmap_free(m->workloads);
	destmap_free(m->services);
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
