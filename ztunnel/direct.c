/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/direct.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "hbone/session.h"
#include "net/addr.h"
#include "tls/identity.h"
#include "tls/spiffe.h"
#include "ztunnel/access_log.h"
#include "ztunnel/authz.h"
#include "ztunnel/conn.h"
#include "ztunnel/pod.h"
#include "ztunnel/resolve.h"
#include "ztunnel/signal_values.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"

static const struct workload *workload_of(const struct state *s, const struct pod *p)
{
	return s && p ? pod_workload(s, p) : NULL;
}

/* The service is not looked at: who asks for it has been through its frontend already, or dials the
 * pod itself, as resolve_outbound() does for an address of a workload. */
static bool is_candidate(const struct state *s, const struct workload *src,
			 const struct workload *dst, const struct cv_sockaddr *to)
{
	return src && dst && src->app->identity[0] != '\0' && src->protocol == WORKLOAD_HBONE &&
	       dst->protocol == WORKLOAD_HBONE && state_workload_by_addr(s, &to->addr) == dst;
}

/* What else has a say changes with the policies' generation alone. */
static bool is_for_policy_alone(const struct state *s, const struct workload *dst)
{
	return !dst->app->waypoint.hbone_port && authz_is_by_identity(s, dst);
}

static bool has_revoked(const struct state *s, const char *identity)
{
	const struct tls_identity *t = identity ? state_tls_identity(s, identity) : NULL;

	return t && tls_identity_is_revoked(t);
}

/* No certificate is shown here; who may not show his in a tunnel may not do without one either. */
static bool is_revoked(const struct state *s, const char *identity)
{
	if (!has_revoked(s, identity))
		return false;
	log_info("access", "connections without a tunnel refused, certificate revoked identity=%s",
		 identity);
	return true;
}

/* Which address the source will use is not known yet, and does not matter: see is_candidate(). */
uint32_t direct_judge(const struct state *s, const struct pod *src, const struct pod *dst,
		      const struct cv_sockaddr *to)
{
	const struct workload *from = workload_of(s, src), *at = workload_of(s, dst);
	struct authz_conn conn = {.dst = *to};
	struct authz_verdict v;

	if (!s || !state_is_synced(s) || !src || !dst || !pod_has_addr(dst, &to->addr) ||
	    pod_is_own_port(dst, ntohs(to->port)) || !is_candidate(s, from, at, to))
		return ZDS_VERDICT_NONE;
	if (!is_for_policy_alone(s, at))
		return ZDS_VERDICT_ZTUNNELS;
	if (is_revoked(s, from->app->identity) || is_revoked(s, at->app->identity))
		return ZDS_VERDICT_DENY;
	conn.src_identity = from->app->identity;
	conn.src.addr = src->addrs[0];
	authz_check(s, at, &conn, &v);
	return v.is_allowed ? ZDS_VERDICT_ALLOW : ZDS_VERDICT_DENY;
}

static bool is_allowed(const struct state *s, const struct workload *at,
		       const struct authz_conn *conn)
{
	struct authz_verdict v;

	authz_check(s, at, conn, &v);
	return v.is_allowed;
}

/* Not by an ALLOW policy that it does not match: who it was, it has shown. */
static bool is_refused_outright(const struct state *s, const struct workload *at,
				const struct authz_conn *conn)
{
	struct authz_verdict v;

	authz_check(s, at, conn, &v);
	return !v.is_allowed && v.policy[0] != '\0';
}

static const char *identity_of(const struct workload *w)
{
	return w && w->app->identity[0] != '\0' ? w->app->identity : NULL;
}

/* Whose connection it is, for @at. Of a pod that is captured and of no workload (its object has
 * gone, and it has not) the agent knows the account. Return: borrowed, or @id; NULL: nobody that
 * could be named. */
static const char *opened_by(const struct state *s, const struct pod *src,
			     const struct workload *at, const struct zds_verdict *ask,
			     char id[SPIFFE_ID_SIZE])
{
	const struct workload *from = workload_of(s, src);

	if (ask->open == ZDS_OPEN_LEFT)
		return identity_of(state_workload_by_addr(s, &ask->src));
	if (ask->open != ZDS_OPEN_LIVE || !src)
		return NULL;
	if (from ||
	    spiffe_format(at->app->trust_domain, src->namespace_, src->service_account, id) < 0)
		return identity_of(from);
	return id;
}

uint32_t direct_judge_open(const struct state *s, const struct pod *src, const struct pod *dst,
			   const struct zds_verdict *ask, uint32_t *ret_of_src)
{
	const bool has_left = ask->open != ZDS_OPEN_LIVE;
	const struct workload *at = workload_of(s, dst);
	struct authz_conn conn = {.src.addr = ask->src, .dst = ask->dst};
	uint32_t v = has_left ? ZDS_VERDICT_NONE : direct_judge(s, src, dst, &ask->dst);
	char id[SPIFFE_ID_SIZE];

	if (v == ZDS_VERDICT_ZTUNNELS) /* but this one ztunnel does not have */
		v = ZDS_VERDICT_NONE;
	*ret_of_src = v == ZDS_VERDICT_NONE;
	if (v != ZDS_VERDICT_NONE || !s || !state_is_synced(s) || !at || (!src && !has_left) ||
	    !pod_has_addr(dst, &ask->dst.addr))
		return v;
	conn.src_identity = opened_by(s, src, at, ask, id);
	if (is_revoked(s, at->app->identity) ||
	    (conn.src_identity && is_revoked(s, conn.src_identity)))
		return ZDS_VERDICT_DENY;
	if (!is_allowed(s, at, &conn))
		return ZDS_VERDICT_DENY;
	conn.src_identity = NULL;
	return has_left && is_refused_outright(s, at, &conn) ? ZDS_VERDICT_DENY : ZDS_VERDICT_ALLOW;
}

static bool is_noted(const struct state *s, const struct workload *at,
		     const struct authz_conn *conn)
{
	struct authz_notes notes;

	authz_notes(s, at, conn, &notes);
	return notes.dry_run != AUTHZ_DRY_RUN_NONE || notes.audit_policy;
}

uint32_t direct_judge_plaintext(const struct state *s, const struct pod *dst,
				const struct cv_sockaddr *to, const struct cv_addr *from,
				uint32_t *ret_of_src)
{
	const struct workload *at = workload_of(s, dst);
	struct authz_conn conn = {.src.addr = *from, .dst = *to};
	struct authz_verdict v;

	*ret_of_src = 0;
	if (!s || !state_is_synced(s) || !at || !pod_has_addr(dst, &to->addr) ||
	    pod_is_own_port(dst, ntohs(to->port)))
		return ZDS_VERDICT_NONE;
	if (!authz_is_by_identity(s, at)) {
		if (cv_addr_is_any(from) || is_noted(s, at, &conn))
			return ZDS_VERDICT_NONE;
		*ret_of_src = 1;
	}
	authz_check(s, at, &conn, &v);
	return v.is_allowed ? ZDS_VERDICT_ALLOW : ZDS_VERDICT_DENY;
}

/* No line for each: nobody knows when it was, or how long. */
static void report_untold(struct telemetry *t, const struct conn_info *info,
			  const struct zds_direct *m)
{
	telemetry_told_opened(t, info, m->opened);
	telemetry_told_closed(t, info, m->closed);
	if (m->failed > 0)
		telemetry_conns_failed(t, info, CONN_CONNECT, m->failed);
	if (info->direction == CONN_OUTBOUND)
		log_warn("access",
			 "more connections without a tunnel than could be told of one by one: "
			 "counted only src.identity=\"%s\" dst.identity=\"%s\" opened=%" PRIu64
			 " closed=%" PRIu64 " failed=%" PRIu64,
			 info->src_identity ? info->src_identity : "-",
			 info->dst_identity ? info->dst_identity : "-", m->opened, m->closed,
			 m->failed);
}

/* By the policies of now, which may be others than they were: @otherwise is the reason then. */
static struct authz_verdict denial_of(const struct state *s, const struct conn_info *info,
				      const char *otherwise)
{
	const struct authz_conn conn = {
		.src_identity = info->src_identity, .src = info->src, .dst = info->dst};
	struct authz_verdict v = {.is_allowed = true};

	if (info->dst_workload)
		authz_check(s, info->dst_workload, &conn, &v);
	if (v.is_allowed)
		v = (struct authz_verdict){.reason = otherwise};
	return v;
}

/* As a tunnel's ends say it: who revokes its peer's certificate, whose policy denies it, and who
 * sees no more than a reset. */
static void report_cut(struct telemetry *t, const struct state *s, const struct conn_info *info)
{
	const bool is_in = info->direction == CONN_INBOUND;
	const char *peer = is_in ? info->src_identity : info->dst_identity;
	struct authz_verdict v;
	char text[CONN_CUT_MAX];

	if (has_revoked(s, peer)) {
		telemetry_told_close(t, info, CONN_CERT_REVOKED, TLS_PEER_REVOKED);
		return;
	}
	if (!is_in) {
		telemetry_told_close(t, info, CONN_OK, conn_end_text(-ECONNRESET, HBONE_NO_ERROR));
		return;
	}
	v = denial_of(s, info, "denied at that moment");
	telemetry_told_close(t, info, CONN_DENY, conn_cut_text(&v, text));
}

/* In a tunnel's words: the source has an answer alone, its server's end knows the reason. */
static void report_failed(struct telemetry *t, const struct conn_info *info, int error)
{
	char text[CONN_TEXT_MAX];
	const char *why = CONN_CLIENT_LEFT;

	if (error && info->direction == CONN_OUTBOUND)
		why = conn_status_text(503, text);
	else if (error)
		why = conn_errno_text(CONN_DIAL_FAILED, -error, text);
	telemetry_conn_failed(t, info, CONN_CONNECT, why);
}

/* Why. @into: TELEMETRY_TEXT_MAX. */
static void denial_find(const struct state *s, const struct conn_info *info,
			struct authz_verdict *ret, struct conn_end *ret_end, char *into)
{
	*ret = denial_of(s, info, "the policy has changed since");
	*ret_end = (struct conn_end){.flags = CONN_DENY, .now_us = info->now_us};
	if (has_revoked(s, info->src_identity) || has_revoked(s, info->dst_identity)) {
		ret_end->flags = CONN_CERT_REVOKED;
		ret_end->error = "certificate revoked";
	} else if (info->direction == CONN_OUTBOUND) {
		ret_end->error = conn_status_text(401, into);
	} else {
		ret_end->error = telemetry_denied_text(ret->policy, ret->reason, into);
	}
}

/* The agent remembers the refusals themselves. */
static void report_denied(struct telemetry *t, const struct state *s, const struct conn_info *info,
			  const struct zds_direct *m)
{
	bool is_inbound = info->direction == CONN_INBOUND;
	char text[TELEMETRY_TEXT_MAX];
	struct authz_verdict v;
	struct conn_end end;

	denial_find(s, info, &v, &end, text);
	telemetry_conns_failed(t, info, end.flags, m->denied);
	for (uint64_t i = 0; i < m->lines; i++)
		access_log_complete(NULL, info, &end,
				    is_inbound && v.policy[0] != '\0' ? v.policy : NULL);
	if (is_inbound && m->lines > 0 && m->lines < m->denied)
		log_warn("access",
			 "more connections were denied than are logged: counted only "
			 "src.identity=\"%s\" dst.identity=\"%s\" count=%" PRIu64,
			 info->src_identity ? info->src_identity : "-",
			 info->dst_identity ? info->dst_identity : "-", m->denied - m->lines);
}

static void report(struct telemetry *t, const struct state *s, const struct conn_info *info,
		   const struct direct_news *news)
{
	const struct zds_direct *m = news->m;
	struct conn_metrics *series;

	if (m->what == ZDS_DIRECT_OPENED) {
		telemetry_told_open(t, info);
		return;
	}
	if (m->what == ZDS_DIRECT_FAILED) {
		report_failed(t, info, (int)m->error);
		return;
	}
	if (m->what == ZDS_DIRECT_DENIED) {
		report_denied(t, s, info, m);
		return;
	}
	series = telemetry_told_metrics(t, info);
	conn_metrics_add(&series->received, m->new_sent);
	conn_metrics_add(&series->sent, m->new_received);
	if (m->what == ZDS_DIRECT_CLOSED)
		telemetry_told_close(t, info, CONN_OK, NULL);
	else if (m->what == ZDS_DIRECT_RESET)
		telemetry_told_close(t, info, CONN_OK, conn_end_text(-ECONNRESET, HBONE_NO_ERROR));
	else if (m->what == ZDS_DIRECT_CUT)
		report_cut(t, s, info);
	else if (m->what == ZDS_DIRECT_UNTOLD)
		report_untold(t, info, m);
}

/* The one that it would have used: it has chosen none yet. */
static struct cv_addr address_like(const struct workload *w, const struct cv_addr *other)
{
	for (uint16_t i = 0; w && i < w->addrs_count; i++)
		if (cv_addr_is_v4(&w->addrs[i]) == cv_addr_is_v4(other))
			return w->addrs[i];
	return (struct cv_addr){0};
}

void direct_report(struct telemetry *t, const struct state *s, const struct direct_news *news)
{
	const struct zds_direct *m = news->m;
	struct conn_info info = {
		.direction = CONN_OUTBOUND,
		.is_direct = true,
		.is_mtls = true, /* as strong: the kernel vouches for both ends */
		.src = m->src,
		.dst = m->dst,
		.asked = m->asked,
		.src_workload = news->src,
		.dst_workload = news->dst,
		.opened_us = m->opened_us,
		.now_us = news->now_us,
		.bytes_to_server = m->sent,
		.bytes_to_client = m->received,
	};

	if (m->what == ZDS_DIRECT_DENIED) {
		info.src.addr = address_like(news->src, &m->dst.addr);
		info.opened_us = news->now_us;
		info.bytes_to_server = 0;
	}
	if (info.src_workload) {
		info.src_identity = info.src_workload->app->identity;
		if (!cv_addr_equal(&m->asked.addr, &m->dst.addr))
			info.service = state_service_by_addr(s, &m->asked.addr,
							     info.src_workload->app->namespace_);
	}
	if (info.dst_workload)
		info.dst_identity = info.dst_workload->app->identity;
	report(t, s, &info, news);
	info.direction = CONN_INBOUND;
	info.service = resolve_served(s, info.dst_workload, ntohs(m->dst.port),
				      info.service ? info.service->def->hostname : NULL);
	report(t, s, &info, news);
}
