/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "xds/client.h"

struct mesh {
	struct mesh_config config;
	struct dests *dests;
	struct xds_client *xds;
	bool is_synced, was_connected;
	bool is_full_logged; /* once per spell of lack of room */
};

/* A destination that finds no room is not captured: say so, loudly but once. */
static void map_failed(struct mesh *m, int r, const char *map, const char *name)
{
	if (m->is_full_logged)
		return;
	m->is_full_logged = true;
	log_error_errno("agent", r, "cannot write a mesh destination map=%s name=%.63s", map, name);
}

static void on_workload(void *arg, const struct cv_addr *addr, const struct cv_dest *dest)
{
	struct mesh *m = arg;
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_WORKLOADS);
	int r = bpf_map_update_elem(fd, addr, dest, BPF_ANY);

	if (r < 0)
		map_failed(m, r, "cv_workloads", dest->name);
}

static void on_workload_gone(void *arg, const struct cv_addr *addr)
{
	const struct mesh *m = arg;

	(void)bpf_map_delete_elem(datapath_map_fd(m->config.datapath, DATAPATH_WORKLOADS), addr);
}

static void on_service(void *arg, const struct cv_service_key *key, const struct cv_dest *dest)
{
	struct mesh *m = arg;
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_SERVICES);
	int r = bpf_map_update_elem(fd, key, dest, BPF_ANY);

	if (r < 0)
		map_failed(m, r, "cv_services", dest->name);
}

static void on_service_gone(void *arg, const struct cv_service_key *key)
{
	const struct mesh *m = arg;

	(void)bpf_map_delete_elem(datapath_map_fd(m->config.datapath, DATAPATH_SERVICES), key);
}

static const struct dests_ops dests_ops = {
	.on_workload = on_workload,
	.on_workload_gone = on_workload_gone,
	.on_service = on_service,
	.on_service_gone = on_service_gone,
};

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

static void sweep_services(const struct mesh *m)
{
	int fd = datapath_map_fd(m->config.datapath, DATAPATH_SERVICES);
	struct cv_service_key key, next;
	bool has_next = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (has_next) {
		key = next;
		has_next = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (!dests_has_service(m->dests, &key))
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
	m->is_full_logged = false;
	if (m->is_synced)
		return;
	m->is_synced = true;
	sweep_workloads(m);
	sweep_services(m);
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
	int r;

	if (!m || !id)
		return -ENOMEM;
	m->config = *config;
	r = dests_new(&dests_ops, m, &m->dests);
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
