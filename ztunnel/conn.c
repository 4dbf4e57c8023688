/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/str.h"
#include "hbone/session.h"
#include "net/addr.h"
#include "ztunnel/access_log.h"
#include "ztunnel/pod.h"
#include "ztunnel/relay.h"
#include "ztunnel/state.h"

/* Where dials to applications come from: many addresses, because one runs out of ports. */
#define DIAL_APP_BASE 0x7f400000U
#define DIAL_APP_MASK 0x003fffffU

void conn_init(struct conn *c, struct worker *w, struct pod *pod, const struct conn_ops *ops)
{
	c->worker = w;
	c->pod = pod_ref(pod);
	c->ops = ops;
	c->direction = ops->direction;
	c->opened_us = now_monotonic_us();
	list_add_tail(&w->conns, &c->link);
	worker_count_conn(w, 1);
	if (ops->has_socket)
		telemetry_count_socket(w->telemetry, c->direction, 1);
}

void conn_release(struct conn *c)
{
	loop_timer_del(&c->timer);
	list_del(&c->link);
	c->src_workload = workload_unref(c->src_workload);
	c->dst_workload = workload_unref(c->dst_workload);
	c->service = service_unref(c->service);
	c->pod = pod_unref(c->pod);
	if (c->ops->has_socket)
		telemetry_count_socket(c->worker->telemetry, c->direction, -1);
	brief_ended(&c->worker->brief, loop_now_us(c->worker->loop), c->opened_us);
	worker_count_conn(c->worker, -1);
}

static void fill_info(const struct conn *c, struct conn_info *info)
{
	*info = (struct conn_info){
		.direction = c->direction,
		.is_mtls = c->is_mtls,
		.has_hbone = c->has_hbone,
		.is_plain = c->is_plain,
		.src = c->src,
		.dst = c->dst,
		.hbone_addr = c->hbone_addr,
		.asked = c->direction == CONN_OUTBOUND ? c->original_dst : c->hbone_addr,
		.src_workload = c->src_workload,
		.dst_workload = c->dst_workload,
		.service = c->service,
		.src_identity = c->src_identity,
		.dst_identity = c->dst_identity,
		.opened_us = c->opened_us,
		.bytes_to_server = c->bytes_to_server,
		.bytes_to_client = c->bytes_to_client,
	};
}

void conn_opened(struct conn *c)
{
	struct conn_info info;

	if (c->is_opened)
		return;
	c->is_opened = true;
	fill_info(c, &info);
	c->metrics = telemetry_conn_open(c->worker->telemetry, &info);
	/* What moved before the answer came. */
	conn_metrics_add(&c->metrics->received, c->bytes_to_server);
	conn_metrics_add(&c->metrics->sent, c->bytes_to_client);
}

void conn_end(struct conn *c, enum conn_flags flags, const char *error)
{
	struct conn_info info;

	fill_info(c, &info);
	if (c->metrics)
		telemetry_conn_close(c->worker->telemetry, TAKE_PTR(c->metrics), &info, flags,
				     error);
	else
		telemetry_conn_failed(c->worker->telemetry, &info, flags, error);
}

void conn_fail(struct conn *c, enum conn_flags flags, const char *error)
{
	conn_end(c, flags, error);
	c->ops->destroy(c);
}

const char *conn_errno_text(const char *what, int error, char into[CONN_TEXT_MAX])
{
	(void)snprintf(into, CONN_TEXT_MAX, "%s: %s (os error %d)", what, strerror(-error), -error);
	return into;
}

void conn_fail_errno(struct conn *c, const char *what, int error)
{
	char text[CONN_TEXT_MAX];

	conn_fail(c, CONN_CONNECT, conn_errno_text(what, error, text));
}

/* What ztunnels answer. */
static const char *reason_of(int status)
{
	static const struct {
		int status;
		const char *reason;
	} known[] = {{400, " Bad Request"},
		     {401, " Unauthorized"},
		     {403, " Forbidden"},
		     {404, " Not Found"},
		     {500, " Internal Server Error"},
		     {502, " Bad Gateway"},
		     {503, " Service Unavailable"},
		     {504, " Gateway Timeout"}};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].status == status)
			return known[i].reason;
	return "";
}

const char *conn_status_text(int status, char into[CONN_TEXT_MAX])
{
	(void)snprintf(into, CONN_TEXT_MAX, "http status: %d%s", status, reason_of(status));
	return into;
}

const char *conn_end_text(int error, uint32_t code)
{
	if (code == HBONE_PEER_SILENT)
		return "connection reset: the peer's node has answered no PING for 20 s";
	if (code == HBONE_NO_MEMORY)
		return "connection reset: out of memory";
	return error < 0 ? "connection reset" : NULL;
}

void conn_fail_early(struct conn *c, const char *error)
{
	struct conn_info info;

	fill_info(c, &info);
	telemetry_conn_early(c->worker->telemetry, &info, CONN_CONNECT, error);
	c->ops->destroy(c);
}

void conn_denied(struct conn *c, const struct authz_verdict *v)
{
	struct conn_info info;

	fill_info(c, &info);
	telemetry_conn_denied(c->worker->telemetry, &info, v->policy, v->reason);
}

void conn_count_bytes(struct conn *c, uint64_t to_server, uint64_t to_client)
{
	c->bytes_to_server += to_server;
	c->bytes_to_client += to_client;
	if (!c->metrics)
		return;
	if (to_server > 0)
		conn_metrics_add(&c->metrics->received, to_server);
	if (to_client > 0)
		conn_metrics_add(&c->metrics->sent, to_client);
}

/* The snapshot hands its objects out as const; counting a reference is the one change that is
 * allowed. */
static struct workload *hold_workload(const struct workload *w)
{
	return w ? workload_ref((struct workload *)(uintptr_t)w) : NULL;
}

void conn_set_src(struct conn *c, const struct workload *w)
{
	struct workload *old = c->src_workload;

	c->src_workload = hold_workload(w);
	(void)workload_unref(old);
}

void conn_set_dst(struct conn *c, const struct workload *w)
{
	struct workload *old = c->dst_workload;

	c->dst_workload = hold_workload(w);
	(void)workload_unref(old);
}

void conn_set_service(struct conn *c, const struct service *s)
{
	struct service *old = c->service;

	c->service = s ? service_ref((struct service *)(uintptr_t)s) : NULL;
	(void)service_unref(old);
}

static struct authz_conn authz_conn_of(const struct conn *c)
{
	return (struct authz_conn){.src_identity = c->is_mtls ? c->src_identity : NULL,
				   .src = c->src,
				   .dst = c->has_hbone ? c->hbone_addr : c->dst};
}

void conn_check(struct conn *c, const struct workload *dst, struct authz_verdict *ret)
{
	const struct authz_conn a = authz_conn_of(c);

	authz_check(c->worker->state, dst, &a, ret);
}

void conn_note(const struct conn *c, const struct workload *dst)
{
	const struct authz_conn a = authz_conn_of(c);
	struct authz_notes notes;
	struct conn_info info;

	authz_notes(c->worker->state, dst, &a, &notes);
	if (notes.dry_run == AUTHZ_DRY_RUN_NONE && !notes.audit_policy)
		return;
	fill_info(c, &info);
	if (notes.dry_run == AUTHZ_DRY_RUN_DENIED)
		access_log_note(&info,
				notes.dry_run_policy
					? "dry run: would be denied"
					: "dry run: would be denied, no allow policy matched",
				notes.dry_run_policy);
	if (notes.dry_run == AUTHZ_DRY_RUN_ALLOWED)
		access_log_note(&info, "dry run: would be allowed", notes.dry_run_policy);
	if (notes.audit_policy)
		access_log_note(&info, "audit", notes.audit_policy);
}

const char *conn_cut_text(const struct authz_verdict *v, char into[CONN_CUT_MAX])
{
	(void)snprintf(into, CONN_CUT_MAX, "connection closed due to policy change: %s%s%s",
		       v->reason, v->policy[0] ? ": " : "", v->policy);
	return into;
}

void conn_recheck_all(struct worker *w)
{
	struct conn *c, *next;

	list_for_each_entry_safe (c, next, &w->conns, link) {
		const struct workload *dst;
		struct authz_verdict v;
		char text[CONN_CUT_MAX];

		if (!c->is_checked)
			continue;
		/* A pod that left the mesh keeps its connections: no policy is known for it any
		 * more. */
		dst = state_workload_by_uid(w->state, c->pod->uid);
		if (!dst)
			continue;
		conn_check(c, dst, &v);
		if (!v.is_allowed)
			c->ops->cut(c, CONN_DENY, conn_cut_text(&v, text));
	}
}

static int bind_spread(struct conn *c, int fd, bool is_v4)
{
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	const int one = 1;
	uint32_t spread = (uint32_t)worker_random(c->worker) & DIAL_APP_MASK;
	int r;

	/* Not the network's own address. */
	v4.sin_addr.s_addr = htonl(DIAL_APP_BASE | (spread ? spread : 1));
	if (is_v4)
		r = bind(fd, (const struct sockaddr *)&v4, sizeof(v4));
	else
		/* One address only: leave the port to connect(2), which knows the destination. */
		r = setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) < 0
			    ? -1
			    : bind(fd, (const struct sockaddr *)&v6, sizeof(v6));
	return r < 0 ? -errno : 0;
}

/* show_client() - the application is to see the real client. A stranger that looks like loopback
 * would be trusted by some applications: where it cannot be shown although the pod is captured, the
 * dial fails. */
static int show_client(struct conn *c, int fd, bool is_v4)
{
	if (cv_addr_is_v4(&c->src.addr) != is_v4) {
		log_debug("ztunnel", "client of another family cannot be shown pod=%s",
			  c->pod->uid);
		return 0;
	}
	if (setsockopt(fd, CV_SOL_CULVERT, CV_SO_CLIENT, &c->src, sizeof(c->src)) < 0 &&
	    c->pod->flags & CV_POD_CAPTURE)
		return -errno;
	return 0;
}

int conn_dial_app(struct conn *c, int fd, const struct cv_sockaddr *to)
{
	bool is_v4 = cv_addr_is_v4(&to->addr);
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	r = cv_sockaddr_to_native(to, AF_UNSPEC, &ss, &len);
	if (r < 0)
		return r;
	r = show_client(c, fd, is_v4);
	if (r < 0)
		return r;
	r = bind_spread(c, fd, is_v4);
	if (r < 0)
		return r;
	/* No keep-alive: the application is in the same kernel. */
	relay_reset_on_close(fd, true);
	if (connect(fd, (const struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	/* The application is in the same kernel: the handshake has mostly been done under
	 * connect(2), which does not say so. */
	if (send(fd, "", 0, MSG_NOSIGNAL | MSG_DONTWAIT) == 0)
		return 1;
	return errno == EAGAIN ? 0 : -errno;
}
