/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/explain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "http/server.h"
#include "net/addr.h"
#include "tls/identity.h"
#include "ztunnel/authz.h"
#include "ztunnel/certs_json.h"
#include "ztunnel/explain_find.h"
#include "ztunnel/explain_verdict.h"
#include "ztunnel/resolve.h"
#include "ztunnel/state.h"

#define HOST_TEXT_SIZE (256 + 8) /* a host name and a port */
#define PATH_ALL       "/explain"
#define PATH_INBOUND   "/explain/inbound"
#define PATH_POLICIES  "/explain/policies"
#define ROUTES_MAX     64
/* resolve_outbound() is asked this often, with random numbers spread evenly over their range: an
 * endpoint with a smaller share than one in so many may be missed. */
#define SAMPLES      256
#define SAMPLE_STEP  (1U << 24)
#define IDENTITY_MAX 2304

/* One way that resolve_outbound() may decide. */
struct route {
	struct upstream up;
	unsigned int hits;
};

/* One question: who dials what. */
struct question {
	const struct state *state;
	const struct workload *src; /* NULL: a stranger */
	struct cv_addr src_addr;
	bool is_captured; /* the source's own ztunnel handles it */
	struct explain_dest dest;
	struct route routes[ROUTES_MAX];
	size_t routes_count;
	unsigned int more_hits; /* of routes that found no room */
};

/* A client that nothing is known of is resolved for like a workload without attributes. */
static const struct workload_app stranger_app = {
	.namespace_ = "",
	.trust_domain = "",
	.service_account = "",
	.identity = "",
	.network = "",
	.cluster = "",
	.canonical_name = "",
	.canonical_revision = "",
};
static const struct workload_place stranger_place = {
	.node = "", .region = "", .zone = "", .subzone = ""};
static const struct workload_rare stranger_rare = {.hostname = "", .dns_name = ""};
static const struct workload stranger = {
	.uid = "",
	.name = "",
	.workload_name = "",
	.rare = &stranger_rare,
	.app = &stranger_app,
	.place = &stranger_place,
};

bool explain_is_path(const char *path)
{
	return streq(path, PATH_ALL) || streq(path, PATH_INBOUND) || streq(path, PATH_POLICIES);
}

static json_t *failure(unsigned int *ret_status, unsigned int status, const char *text)
{
	*ret_status = status;
	return json_pack("{s:s}", "error", text);
}

static unsigned int status_of(int error)
{
	return error == -ENOENT ? 404 : 400;
}

static json_t *workload_brief(const struct workload *w)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "name", w->name, "namespace",
			 w->app->namespace_, "uid", w->uid, "node", w->place->node, "identity",
			 w->app->identity, "protocol",
			 w->protocol == WORKLOAD_HBONE ? "HBONE" : "TCP");
}

/* The source. */

static int find_source(struct question *q, const char *text, char *err, size_t err_size)
{
	int r;

	if (cv_addr_parse(text, &q->src_addr) == 0) {
		q->src = state_workload_by_addr(q->state, &q->src_addr);
		r = 0;
	} else {
		r = explain_find_workload(q->state, text, &q->src, err, err_size);
		if (r == 0 && q->src->addrs_count == 0) {
			(void)snprintf(err, err_size, "%s has no address", text);
			return -ENOENT;
		}
		if (r == 0)
			q->src_addr = q->src->addrs[0];
	}
	q->is_captured = q->src && q->src->protocol == WORKLOAD_HBONE;
	return r;
}

/* use_family() - a dual-stack source dials IPv6 from its IPv6 address. */
static void use_family(struct question *q)
{
	bool is_v4 = cv_addr_is_v4(&q->dest.addr.addr);

	for (size_t i = 0; q->src && i < q->src->addrs_count; i++) {
		if (cv_addr_is_v4(&q->src_addr) == is_v4)
			return;
		q->src_addr = q->src->addrs[i];
	}
}

static json_t *source_to_json(const struct question *q)
{
	char text[CV_ADDR_STRLEN];
	json_t *o = q->src ? workload_brief(q->src) : json_object();

	(void)json_object_set_new(o, "address", json_string(cv_addr_format(&q->src_addr, text)));
	(void)json_object_set_new(o, "isEnrolled", json_boolean(q->is_captured));
	return o;
}

/* certificate_to_json() - what this ztunnel would show for the source; null when it has none. */
static json_t *certificate_to_json(const struct question *q)
{
	const struct tls_identity *t =
		q->is_captured ? state_tls_identity(q->state, q->src->app->identity) : NULL;
	json_t *all = t ? cert_to_json(q->src->app->identity, t, "") : NULL;
	json_t *leaf = json_incref(json_array_get(json_object_get(all, "certChain"), 0));

	json_decref(all);
	if (!leaf)
		return json_null();
	(void)json_object_del(leaf, "pem");
	(void)json_object_set_new(leaf, "identity", json_string(q->src->app->identity));
	return leaf;
}

/* Routes. */

/* as_uncaptured() - nobody tunnels for a client outside the mesh: what the endpoint is dialled
 * with. */
static void as_uncaptured(const struct question *q, struct upstream *up)
{
	if (up->kind == UPSTREAM_REFUSE || up->kind == UPSTREAM_NAMED)
		return;
	up->kind = UPSTREAM_TCP;
	up->dial = up->is_waypoint ? q->dest.addr : up->target;
	up->target = up->dial;
	up->identities_count = 0;
	if (up->is_waypoint)
		up->workload = NULL;
	up->is_waypoint = false;
}

static void add_route(struct question *q, uint32_t random)
{
	struct upstream up;

	resolve_outbound(q->state, q->src ? q->src : &stranger, &q->dest.addr, random, &up);
	if (!q->is_captured)
		as_uncaptured(q, &up);
	for (size_t i = 0; i < q->routes_count; i++) {
		struct route *r = &q->routes[i];

		if (r->up.kind != up.kind || r->up.workload != up.workload ||
		    !cv_sockaddr_equal(&r->up.target, &up.target) ||
		    !cv_sockaddr_equal(&r->up.dial, &up.dial))
			continue;
		r->hits++;
		return;
	}
	if (q->routes_count < ROUTES_MAX)
		q->routes[q->routes_count++] = (struct route){.up = up, .hits = 1};
	else
		q->more_hits++;
}

/* The kernel leaves what a pod says to itself alone. */
static bool is_to_itself(const struct question *q)
{
	return q->src && q->dest.workload == q->src && !q->dest.is_host_port;
}

static const char *kind_of(const struct question *q, const struct upstream *up)
{
	if (is_to_itself(q))
		return "self";
	switch (up->kind) {
	case UPSTREAM_HBONE:
		return "tunnel";
	case UPSTREAM_TCP:
	case UPSTREAM_NAMED:
		return "plain";
	case UPSTREAM_PASSTHROUGH:
		return "passthrough";
	case UPSTREAM_REFUSE:
		break;
	}
	return "refuse";
}

/* inbound_to_json() - what the receiving end's ztunnel does, by this ztunnel's snapshot; null where
 * there is none. */
static json_t *inbound_to_json(const struct question *q, const struct upstream *up)
{
	struct authz_conn conn = {.src = {.addr = q->src_addr}, .dst = up->target};
	bool is_tunnel = up->kind == UPSTREAM_HBONE;
	char authority[CV_SOCKADDR_STRLEN];
	const struct service *service;
	int status;

	if (!up->workload || up->is_waypoint || up->workload->protocol != WORKLOAD_HBONE ||
	    is_to_itself(q))
		return json_null();
	if (is_tunnel)
		conn.src_identity = q->src->app->identity;
	status = resolve_inbound(q->state, up->workload, cv_sockaddr_format(&up->target, authority),
				 &up->target.addr, &conn.dst, &service);
	if (status)
		return json_pack("{s:b, s:s, s:s, s:i, s:[], s:[]}", "allowed", false, "policy", "",
				 "reason", "the destination port is ztunnel's own", "status",
				 status, "policies", "change");
	return explain_verdict(q->state, q->src, up->workload, &conn);
}

static json_t *identities_to_json(const struct upstream *up)
{
	json_t *list = json_array();

	for (size_t i = 0; i < up->identities_count; i++)
		(void)json_array_append_new(list, json_string(up->identities[i]));
	for (size_t i = 0; up->identities_count > 0 && i < up->more_identities_count; i++)
		(void)json_array_append_new(list, json_string(up->more_identities[i]));
	return list;
}

/* An address, or the name that DNS has to turn into one. */
static const char *dial_text(const struct upstream *up, char text[HOST_TEXT_SIZE])
{
	if (up->kind != UPSTREAM_NAMED)
		return cv_sockaddr_format(&up->dial, text);
	(void)snprintf(text, HOST_TEXT_SIZE, "%s:%u", up->workload->rare->hostname,
		       ntohs(up->dial.port));
	return text;
}

static json_t *route_to_json(const struct question *q, const struct route *r)
{
	const struct upstream *up = &r->up;
	char dial[HOST_TEXT_SIZE], target[CV_SOCKADDR_STRLEN];

	return json_pack("{s:s, s:f, s:s, s:s, s:o, s:o, s:b, s:s, s:o}", "kind", kind_of(q, up),
			 "share", (double)r->hits / SAMPLES, "dial", dial_text(up, dial), "target",
			 up->kind == UPSTREAM_NAMED ? dial
						    : cv_sockaddr_format(&up->target, target),
			 "workload", up->workload ? workload_brief(up->workload) : json_null(),
			 "identities", identities_to_json(up), "isWaypoint", up->is_waypoint,
			 "error", up->kind == UPSTREAM_REFUSE && up->error ? up->error : "",
			 "inbound", inbound_to_json(q, up));
}

/* others_to_json() - what the words stand for besides. */
static json_t *others_to_json(const struct explain_dest *d)
{
	json_t *list = json_array();
	char text[CV_SOCKADDR_STRLEN];

	for (size_t i = 1; i < d->meant_count; i++)
		(void)json_array_append_new(list,
					    json_string(cv_sockaddr_format(&d->meant[i], text)));
	return list;
}

static json_t *dest_to_json(const struct question *q)
{
	const struct service_def *d = q->dest.service ? q->dest.service->def : NULL;
	char text[CV_SOCKADDR_STRLEN];

	return json_pack(
		"{s:s, s:o, s:o, s:o, s:I}", "address", cv_sockaddr_format(&q->dest.addr, text),
		"service", d ? json_string(d->key) : json_null(), "workload",
		q->dest.workload ? workload_brief(q->dest.workload) : json_null(), "others",
		others_to_json(&q->dest), "moreOthers", (json_int_t)q->dest.more_count);
}

static json_t *explain_all(const struct state *s, const char *query, unsigned int *ret_status)
{
	struct question q = {.state = s};
	char from[EXPLAIN_NAME_MAX], to[EXPLAIN_NAME_MAX], err[EXPLAIN_NAME_MAX * 2] = "";
	struct explain_asker asker = {.state = s, .namespace_ = ""};
	json_t *routes;
	int r;

	if (http_query_get(query, "from", from, sizeof(from)) < 0 ||
	    http_query_get(query, "to", to, sizeof(to)) < 0)
		return failure(ret_status, 400, "usage: /explain?from=POD&to=DEST[:PORT]");
	r = find_source(&q, from, err, sizeof(err));
	if (r < 0)
		return failure(ret_status, status_of(r), err);
	if (q.src)
		asker.namespace_ = q.src->app->namespace_;
	asker.is_v4 = cv_addr_is_v4(&q.src_addr);
	r = explain_find_dest(&asker, to, &q.dest, err, sizeof(err));
	if (r < 0)
		return failure(ret_status, status_of(r), err);
	use_family(&q);
	for (uint32_t i = 0; i < SAMPLES; i++)
		add_route(&q, i * SAMPLE_STEP + SAMPLE_STEP / 2);
	routes = json_array();
	for (size_t i = 0; i < q.routes_count; i++)
		(void)json_array_append_new(routes, route_to_json(&q, &q.routes[i]));
	*ret_status = 200;
	return json_pack("{s:b, s:o, s:o, s:o, s:o, s:f}", "isSynced", state_is_synced(s), "from",
			 source_to_json(&q), "to", dest_to_json(&q), "certificate",
			 certificate_to_json(&q), "routes", routes, "moreShare",
			 (double)q.more_hits / SAMPLES);
}

/* The receiving end alone. */

static json_t *explain_inbound(const struct state *s, const char *query, unsigned int *ret_status)
{
	char to[EXPLAIN_NAME_MAX], dst[CV_SOCKADDR_STRLEN], src[CV_ADDR_STRLEN];
	char identity[IDENTITY_MAX] = "", err[EXPLAIN_NAME_MAX * 2] = "";
	struct authz_conn conn = {0};
	const struct workload *w;
	int r;

	if (http_query_get(query, "to", to, sizeof(to)) < 0 ||
	    http_query_get(query, "dst", dst, sizeof(dst)) < 0 ||
	    http_query_get(query, "src", src, sizeof(src)) < 0 ||
	    http_query_get(query, "identity", identity, sizeof(identity)) == -EINVAL ||
	    cv_sockaddr_parse(dst, &conn.dst) < 0 || cv_addr_parse(src, &conn.src.addr) < 0)
		return failure(ret_status, 400,
			       "usage: /explain/inbound?to=POD&dst=IP:PORT&src=IP"
			       "[&identity=SPIFFE-ID]");
	r = explain_find_workload(s, to, &w, err, sizeof(err));
	if (r < 0)
		return failure(ret_status, status_of(r), err);
	conn.src_identity = identity[0] ? identity : NULL;
	*ret_status = 200;
	return explain_verdict(s, state_workload_by_addr(s, &conn.src.addr), w, &conn);
}

static json_t *explain_pod(const struct state *s, const char *query, unsigned int *ret_status)
{
	char pod[EXPLAIN_NAME_MAX], err[EXPLAIN_NAME_MAX * 2] = "";
	const struct workload *w;
	int r;

	if (http_query_get(query, "pod", pod, sizeof(pod)) < 0)
		return failure(ret_status, 400, "usage: /explain/policies?pod=POD");
	r = explain_find_workload(s, pod, &w, err, sizeof(err));
	if (r < 0)
		return failure(ret_status, status_of(r), err);
	*ret_status = 200;
	return json_pack("{s:o, s:o}", "workload", workload_brief(w), "policies",
			 explain_policies(s, w, NULL));
}

json_t *explain_request(const struct state *s, const struct http_request *req,
			unsigned int *ret_status)
{
	json_t *value;

	if (streq(req->path, PATH_INBOUND))
		value = explain_inbound(s, req->query, ret_status);
	else if (streq(req->path, PATH_POLICIES))
		value = explain_pod(s, req->query, ret_status);
	else
		value = explain_all(s, req->query, ret_status);
	if (!value)
		*ret_status = 500;
	return value;
}
