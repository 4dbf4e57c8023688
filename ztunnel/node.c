/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/node.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/map.h"
#include "base/str.h"
#include "tls/identity.h"
#include "xds/client_id.h"
#include "ztunnel/access_log.h"
#include "ztunnel/admin.h"
#include "ztunnel/agent_link.h"
#include "ztunnel/certs.h"
#include "ztunnel/collect.h"
#include "ztunnel/dns.h"
#include "ztunnel/names.h"
#include "ztunnel/node_internal.h"
#include "ztunnel/pod.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"
#include "ztunnel/xds_sync.h"

#define TARGET    "ztunnel"
#define PATH_SIZE 108 /* of a UNIX socket */
#define TRIM_US   (5 * 1000 * 1000ULL)

/* Pods. */

static struct node_pod *pod_find(struct node *n, uint64_t cookie)
{
	return node_pod_find(n, cookie);
}

static void pod_remove(struct node *n, struct node_pod *np)
{
	uint64_t cookie = np->pod->netns_cookie;

	(void)map_del(n->pods, &cookie, sizeof(cookie));
	node_stand_in_drop(n, np);
	xds_sync_del_pod(n->xds, np->pod->uid);
	n->pods_stopped += np->pending == 0 && np->error == 0;
	for (unsigned int i = 0; i < n->config.workers; i++)
		worker_post_pod_del(&n->workers[i], cookie);
	dns_pod_del(n->dns, cookie);
	if (np->identity)
		certs_unwant(n->certs, np->identity);
	free(np->identity);
	(void)pod_unref(np->pod);
	free(np);
}

/* pod_enter() - in the table under its cookie, instead of what was there. */
static int pod_enter(struct node *n, struct pod *pod, struct node_pod **ret)
{
	struct node_pod *np = pod_find(n, pod->netns_cookie);
	int r = xds_sync_add_pod(n->xds, pod->uid);

	if (r < 0)
		return r;
	if (!np) {
		np = calloc(1, sizeof(*np));
		r = np ? map_put(n->pods, &pod->netns_cookie, sizeof(pod->netns_cookie), np)
		       : -ENOMEM;
		if (r < 0) {
			xds_sync_del_pod(n->xds, pod->uid);
			free(np);
			return r;
		}
	}
	if (np->pod)
		xds_sync_del_pod(n->xds, np->pod->uid);
	(void)pod_unref(np->pod);
	np->pod = pod_ref(pod);
	np->pending = n->config.workers;
	np->error = 0;
	np->is_stale = false;
	*ret = np;
	return 0;
}

static int pod_add(struct node *n, const struct zds_pod_add *m, const int *fds, bool *ret_taken)
{
	_cleanup_(pod_unrefp) struct pod *pod = NULL;
	struct listener_set *listeners;
	struct node_pod *np;
	int r;

	r = pod_new(m, fds, &pod);
	if (r < 0)
		return r;
	r = pod_enter(n, pod, &np);
	if (r < 0)
		return r;
	listeners = listener_set_new(fds);
	if (!listeners)
		return -ENOMEM;
	*ret_taken = true;
	r = dns_pod_add(n->dns, m->netns_cookie, m, &fds[ZDS_LISTEN_DNS_UDP],
			fds[ZDS_LISTEN_DNS_TCP]);
	for (unsigned int i = 0; r == 0 && i < n->config.workers; i++)
		worker_post_pod_add(&n->workers[i], pod, listeners);
	(void)listener_set_unref(listeners);
	node_pod_want(n, np);
	return r;
}

static void on_pod_add(void *arg, const struct zds_pod_add *m, const int *fds)
{
	struct node *n = arg;
	bool is_taken = false;
	/* no refusal: the next ztunnel is offered it as soon as this one leaves the agent */
	int r = n->is_draining ? 0 : pod_add(n, m, fds, &is_taken);

	if (!is_taken)
		for (size_t i = 0; i < ZDS_LISTENERS; i++)
			(void)close_fd(fds[i]);
	if (r == 0)
		return;
	(void)log_error_errno(TARGET, r, "cannot serve pod cookie=%llu",
			      (unsigned long long)m->netns_cookie);
	(void)agent_link_ack(n->agent, m->netns_cookie, -r);
}

/* on_pod_added() - a worker watches it; the agent may capture when all do. */
static void on_pod_added(void *arg, struct pod *pod, int error)
{
	struct node *n = arg;
	struct node_pod *np = pod_find(n, pod->netns_cookie);

	if (!np || np->pod != pod || np->pending == 0)
		return;
	if (np->error == 0)
		np->error = error;
	if (--np->pending > 0)
		return;
	n->pods_started += np->error == 0;
	log_info(TARGET, "pod served pod=%s/%s cookie=%llu error=%d", pod->namespace_, pod->name,
		 (unsigned long long)pod->netns_cookie, np->error);
	if (n->agent && !n->is_draining)
		(void)agent_link_ack(n->agent, pod->netns_cookie, np->error);
}

static void on_pod_del(void *arg, uint64_t netns_cookie)
{
	struct node *n = arg;
	struct node_pod *np = pod_find(n, netns_cookie);

	if (!np)
		return;
	log_info(TARGET, "pod released pod=%s/%s cookie=%llu", np->pod->namespace_, np->pod->name,
		 (unsigned long long)netns_cookie);
	pod_remove(n, np);
}

static void on_synced(void *arg)
{
	struct node *n = arg;

	map_for_each (n->pods, it) {
		struct node_pod *np = it.value;

		if (np->is_stale)
			pod_remove(n, np);
	}
	admin_set_ready(n->admin, ADMIN_TASK_PODS, true);
}

/* Sockets. */

static int need_to_agent(void *arg, const struct zds_sockets *m)
{
	struct node *n = arg;

	/* as a pod that leaves: its clients ask again, over a tunnel to the next ztunnel */
	return n->agent && agent_link_is_connected(n->agent) ? agent_link_need(n->agent, m)
							     : -ENETDOWN;
}

static void sockets_give(void *arg, uint32_t by, const struct zds_sockets *m, const int *fds)
{
	struct node *n = arg;

	if (by == NEED_BY_DNS)
		dns_sockets_give(n->dns, m->netns_cookie, m->kind, m->family, fds, m->count);
	else
		worker_post_sockets(&n->workers[by], m, fds);
}

static void need_send(struct node *n, uint32_t by, const struct zds_sockets *m)
{
	const struct needs_ops ops = {.send = need_to_agent, .give = sockets_give, .arg = n};

	/* Without an agent nothing comes; after it is back each pod starts with a new stock. In a
	 * drain it does not come back: nobody waits for it. */
	if (n->is_draining || (n->agent && agent_link_is_connected(n->agent)))
		needs_ask(&n->needs, &ops, by, m);
}

void node_needs_refuse(struct node *n, int error)
{
	const struct needs_ops ops = {.send = need_to_agent, .give = sockets_give, .arg = n};

	needs_refuse(&n->needs, &ops, error);
}

static void on_worker_need(void *arg, unsigned int worker, const struct zds_sockets *m)
{
	need_send(arg, worker, m);
}

static void on_worker_name(void *arg, struct name_query *q)
{
	names_serve(q, ((struct node *)arg)->dns);
}

static void on_dns_need(void *arg, uint64_t netns_cookie, uint32_t kind, uint32_t family,
			uint32_t count)
{
	const struct zds_sockets m = {.netns_cookie = netns_cookie,
				      .kind = kind,
				      .family = family,
				      .count = MIN(count, (uint32_t)ZDS_MAX_FDS)};

	need_send(arg, NEED_BY_DNS, &m);
}

static void on_sockets(void *arg, const struct zds_sockets *m, const int *fds)
{
	struct node *n = arg;
	uint32_t by;

	if (!needs_take(&n->needs, m, &by))
		for (uint32_t i = 0; i < m->count; i++)
			(void)close_fd(fds[i]);
	else
		sockets_give(n, by, m, fds);
	node_drain_answered(n);
}

/* The agent. */

static void on_agent_connected(void *arg)
{
}

static void on_agent_lost(void *arg)
{
	struct node *n = arg;

	n->has_asked = false;
	node_direct_lost(n);
	if (n->is_draining)
		node_drain_lost(n);
	needs_clear(&n->needs);
	map_for_each (n->pods, it) {
		((struct node_pod *)it.value)->is_stale = true;
	}
	admin_set_ready(n->admin, ADMIN_TASK_PODS, false);
	/* what it said last of its pods is not so for ever */
	admin_set_agent_metrics(n->admin, "", 0);
}

static void on_nameserver(void *arg, const struct zds_nameserver *m)
{
	dns_nameserver(((struct node *)arg)->dns, m);
}

static void on_agent_metrics(void *arg, const char *text, size_t len)
{
	admin_set_agent_metrics(((struct node *)arg)->admin, text, len);
}

static const struct agent_link_ops agent_ops = {
	.on_connected = on_agent_connected,
	.on_lost = on_agent_lost,
	.on_pod_add = on_pod_add,
	.on_pod_del = on_pod_del,
	.on_synced = on_synced,
	.on_sockets = on_sockets,
	.on_nameserver = on_nameserver,
	.on_metrics = on_agent_metrics,
	.on_verdict_ask = node_direct_ask,
	.on_direct = node_direct_report,
	.on_direct_page = node_direct_page,
};

/* The control plane. */

static void on_state(void *arg, struct state *s)
{
	struct node *n = arg;
	struct state *old = n->state;

	n->state = state_ref(s);
	node_direct_state(n, old);
	(void)state_unref(old);
	for (unsigned int i = 0; i < n->config.workers; i++)
		if (n->workers[i].is_running)
			worker_post_state(&n->workers[i], s);
	dns_set_state(n->dns, s);
	node_trust_state(n);
	map_for_each (n->pods, it) {
		node_pod_want(n, it.value);
	}
}

static void on_xds_synced(void *arg)
{
	admin_set_ready(((struct node *)arg)->admin, ADMIN_TASK_STATE, true);
}

static void on_settings(void *arg, struct settings *s)
{
	access_log_set_default(!s->is_access_log_off);
	dns_set_cluster_domain(((struct node *)arg)->dns, s->cluster_domain);
	node_trust_settings(arg, s);
}

static const struct xds_sync_ops xds_ops = {
	.on_state = on_state,
	.on_synced = on_xds_synced,
	.on_connected = node_trust_connected,
	.on_settings = on_settings,
};

/* Ending: node_drain.c. */

static void on_worker_drained(void *arg)
{
	struct node *n = arg;

	if (++n->drained == n->config.workers)
		node_drain_done(n);
}

static const struct worker_ops worker_ops = {
	.on_pod_added = on_pod_added,
	.on_need = on_worker_need,
	.on_name = on_worker_name,
	.on_drained = on_worker_drained,
};

static void on_signal(int signo, void *arg)
{
	node_drain(arg);
}

static void on_quit(void *arg)
{
	node_drain(arg);
}

/* Admin. */

static void on_collect(void *arg, struct admin_dump *d)
{
	struct node *n = arg;

	map_for_each (n->pods, it) {
		const struct node_pod *np = it.value;
		const struct admin_pod p = {.uid = np->pod->uid,
					    .name = np->pod->name,
					    .namespace_ = np->pod->namespace_,
					    .service_account = np->pod->service_account,
					    .is_up = np->pending == 0 && np->error == 0};

		(void)admin_dump_pod(d, &p);
	}
	node_direct_list(n, d);
	collect_start(n->workers, n->config.workers, d);
}

/* Life. */

static int path_make(char *into, const struct node *n, const char *name)
{
	int k = snprintf(into, PATH_SIZE, "%s/%s", n->config.run_dir, name);

	return k < 0 || k >= PATH_SIZE ? -ENAMETOOLONG : 0;
}

static int make_control(struct node *n)
{
	char path[PATH_SIZE], id[512];
	const struct xds_sync_config xds = {
		.loop = n->loop,
		.target = dial_options_target(&n->config.control, NULL, path),
		.node = n->config.name,
		.node_id = id,
		.network = ""};
	const struct certs_config certs = {
		.loop = n->loop,
		.target =
			dial_options_target(&n->config.control, n->config.control.ca_address, path),
		.on_identity = node_trust_identity,
		.arg = n,
		.trust = n->trust};
	const struct dns_config dns = {.loop = n->loop, .need_sockets = on_dns_need, .arg = n};
	int r = path_make(path, n, "control/xds.sock");

	if (r < 0)
		return r;
	(void)snprintf(id, sizeof(id), CLIENT_ID_ZTUNNEL_FORMAT, n->config.name);
	r = dns_new(&dns, &n->dns);
	if (r == 0)
		r = xds_sync_new(&xds, &xds_ops, n, &n->xds);
	if (r == 0)
		r = certs_new(&certs, &n->certs);
	return r;
}

static int make_admin(struct node *n, char *err, size_t err_size)
{
	char path[PATH_SIZE];
	const struct admin_config admin = {
		.loop = n->loop,
		.xds = n->xds,
		.certs = n->certs,
		.node = n->config.name,
		.unix_path = path,
		.admin_port = n->config.admin_port,
		.metrics_port = n->config.metrics_port,
		.ready_port = n->config.ready_port,
		.workers = n->config.workers,
		.collect = on_collect,
		.quit = on_quit,
		.arg = n,
	};
	int r = path_make(path, n, "ztunnel/admin.sock");

	if (r == 0)
		r = admin_new(&admin, err, err_size, &n->admin);
	if (r == 0)
		r = admin_add_metrics(n->admin, xds_sync_metrics, n->xds);
	if (r == 0)
		r = admin_add_metrics(n->admin, dns_metrics, n->dns);
	if (r == 0)
		r = admin_add_metrics(n->admin, node_metrics, n);
	return r;
}

static int make_all(struct node *n, char *err, size_t err_size)
{
	int r = loop_new(&n->loop);

	if (r < 0)
		return r;
	inbox_init(&n->inbox, n->loop, n);
	r = map_new(&n->pods);
	if (r == 0)
		r = node_trust_make(n);
	if (r == 0)
		r = make_control(n);
	if (r == 0)
		r = node_direct_init(n);
	if (r == 0)
		r = make_admin(n, err, err_size);
	if (r == 0)
		r = admin_add_telemetry(n->admin, n->telemetry);
	if (r == 0)
		r = loop_signal(n->loop, SIGTERM, on_signal, n);
	if (r == 0)
		r = loop_signal(n->loop, SIGINT, on_signal, n);
	return r;
}

int node_new(const struct node_config *config, char *err, size_t err_size, struct node **ret)
{
	_cleanup_(node_freep) struct node *n = NULL;
	int r;

	if (config->workers < 1 || config->workers > NODE_WORKERS_MAX)
		return -EINVAL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->config = *config;
	needs_init(&n->needs);
	err[0] = '\0';
	r = make_all(n, err, err_size);
	if (r < 0) {
		if (err[0] == '\0')
			(void)snprintf(err, err_size, "cannot start: %s", strerror(-r));
		return r;
	}
	*ret = TAKE_PTR(n);
	return 0;
}

static int start_workers(struct node *n)
{
	for (unsigned int i = 0; i < n->config.workers; i++) {
		struct worker *w = &n->workers[i];
		int r;

		w->index = i;
		w->count = n->config.workers;
		w->all = n->workers;
		w->main_inbox = &n->inbox;
		w->poll_us = n->config.poll_us;
		w->ops = &worker_ops;
		r = worker_prepare(w, xds_sync_state(n->xds));
		if (r < 0)
			return r;
	}
	for (unsigned int i = 0; i < n->config.workers; i++) {
		int r = worker_start(&n->workers[i]);

		if (r == 0)
			r = admin_add_telemetry(n->admin, n->workers[i].telemetry);
		if (r < 0)
			return r;
	}
	return 0;
}

int node_run(struct node *n)
{
	char path[PATH_SIZE];
	const struct agent_link_config agent = {
		.loop = n->loop, .path = path, .node = n->config.name, .ops = &agent_ops, .arg = n};
	int r = start_workers(n);

	if (r == 0)
		r = path_make(path, n, "agent/zds.sock");
	if (r == 0)
		r = agent_link_new(&agent, &n->agent);
	if (r < 0)
		return r;
	admin_set_ready(n->admin, ADMIN_TASK_PROXY, true);
	admin_set_ready(n->admin, ADMIN_TASK_DNS, true);
	trim_start(&n->trim, n->loop, TRIM_US);
	log_info(TARGET, "started node=%s workers=%u", n->config.name, n->config.workers);
	return loop_run(n->loop);
}

struct node *node_free(struct node *n)
{
	if (!n)
		return NULL;
	n->agent = agent_link_free(n->agent);
	needs_clear(&n->needs);
	n->admin = admin_free(n->admin);
	/* All threads end before the first is freed: they look at each other's load and inboxes. */
	for (unsigned int i = 0; i < n->config.workers; i++)
		worker_stop(&n->workers[i]);
	for (unsigned int i = 0; i < n->config.workers; i++)
		worker_free(&n->workers[i]);
	if (n->loop)
		inbox_close(&n->inbox);
	if (n->pods)
		map_for_each (n->pods, it) {
			struct node_pod *np = it.value;

			free(np->identity);
			(void)pod_unref(np->pod);
			free(np);
		}
	node_direct_free(n);
	n->pods = map_free(n->pods);
	n->dns = dns_free(n->dns);
	n->certs = certs_free(n->certs);
	n->xds = xds_sync_free(n->xds);
	(void)state_unref(n->state);
	node_trust_free(n);
	n->loop = loop_free(n->loop);
	free(n);
	return NULL;
}
