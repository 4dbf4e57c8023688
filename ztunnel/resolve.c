/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/resolve.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/str.h"
#include "culvert/abi/maps.h"
#include "net/addr.h"
#include "ztunnel/node_port.h"
#include "ztunnel/pick.h"
#include "ztunnel/state.h"

#define STATUS_BAD_REQUEST 400
#define STATUS_UNAVAILABLE 503
#define HOSTNAME_MAX       253
#define OUTBOUND_PORT      15001
#define INBOUND_PORT       15006
#define GONE               "the destination has gone"

static void refuse(struct upstream *up, const char *error)
{
	up->kind = UPSTREAM_REFUSE;
	up->error = error;
}

static bool has_addr(const struct workload *w, const struct cv_addr *addr)
{
	for (size_t i = 0; i < w->addrs_count; i++)
		if (cv_addr_equal(&w->addrs[i], addr))
			return true;
	return false;
}

static void set_workload(struct upstream *up, const struct workload *w, const struct cv_addr *addr,
			 uint16_t port)
{
	up->workload = w;
	up->target.addr = *addr;
	up->target.port = htons(port);
	up->dial = up->target;
	if (w->protocol != WORKLOAD_HBONE) {
		up->kind = UPSTREAM_TCP;
		return;
	}
	up->kind = UPSTREAM_HBONE;
	up->dial.port = htons(CV_HBONE_PORT);
	up->identities = &w->app->identity;
	up->identities_count = 1;
	if (up->service) {
		up->more_identities = up->service->def->sans;
		up->more_identities_count = up->service->def->sans_count;
	}
}

/* Towards a waypoint the authority stays what the application asked for, and it is a tunnel
 * whatever the waypoint's own protocol says. */
static void set_waypoint(struct upstream *up, const struct workload *w, const struct cv_addr *addr,
			 uint16_t port)
{
	up->kind = UPSTREAM_HBONE;
	up->is_waypoint = true;
	up->workload = w;
	up->dial.addr = *addr;
	up->dial.port = htons(port);
	up->identities = &w->app->identity;
	up->identities_count = 1;
}

static void set_chosen(struct upstream *up, const struct service *v,
		       const struct cv_sockaddr *endpoint)
{
	up->endpoint = *endpoint;
	up->is_chosen = true;
	up->has_others = v->endpoints_count > 1;
}

static void set_named(struct upstream *up, const struct workload *w, uint16_t port)
{
	up->kind = UPSTREAM_NAMED;
	up->workload = w;
	up->target.port = up->dial.port = htons(port);
	up->is_chosen = true;
	/* it may well have several addresses */
	up->has_others = true;
}

static void resolve_waypoint(const struct state *s, const struct workload *src,
			     const struct gateway_ref *ref, const struct resolve_choice *choice,
			     struct upstream *up)
{
	struct cv_sockaddr at = {.addr = up->target.addr, .port = htons(ref->hbone_port)};
	struct wish wish = {.src = src, .orig = &at, .choice = choice};
	const struct workload *w = NULL;
	const struct endpoint *e;

	if (ref->key) {
		wish.service = state_service_by_key(s, ref->key);
	} else {
		at.addr = ref->addr;
		wish.service = state_service_by_addr(s, &ref->addr, src->app->namespace_);
		w = wish.service ? NULL : state_workload_by_addr(s, &ref->addr);
	}
	if (w) {
		set_waypoint(up, w, &ref->addr, ref->hbone_port);
		return;
	}
	e = wish.service ? pick_endpoint(&wish) : NULL;
	if (!e) {
		/* going past it would go past its policies */
		refuse(up, "the waypoint has no endpoint");
		return;
	}
	set_waypoint(up, e->workload, pick_addr(e->workload, &at.addr, wish.service->def->families),
		     pick_port(wish.service, e->link, ref->hbone_port));
	set_chosen(up, wish.service, &up->dial);
	up->more_identities = wish.service->def->sans;
	up->more_identities_count = wish.service->def->sans_count;
}

/* Is @src one of the pods behind @ref? Then the hop through it is done. */
static bool is_waypoint_itself(const struct workload *src, const struct gateway_ref *ref)
{
	for (size_t i = 0; ref->key && i < src->app->services_count; i++)
		if (streq(src->app->services[i].key, ref->key))
			return true;
	return !ref->key && has_addr(src, &ref->addr);
}

/* @w: an endpoint. One without a tunnel may be no more than an address, of Istio's control plane or
 * of DNS: a pod of the mesh that has it expects its own. */
static void set_endpoint(const struct state *s, const struct resolve_choice *choice,
			 const struct workload *w, const struct cv_sockaddr *at,
			 struct upstream *up)
{
	const struct workload *there = state_workload_by_addr(s, &at->addr);

	if (w->protocol != WORKLOAD_HBONE && there && there->protocol == WORKLOAD_HBONE)
		w = there;
	set_workload(up, w, &at->addr, ntohs(at->port));
	if (up->kind == UPSTREAM_TCP && choice->meant && has_addr(choice->meant, &at->addr))
		refuse(up, GONE);
}

/* What is there may have come after the control plane was heard last, and expect a tunnel. */
static void refuse_in_doubt(const struct state *s, struct upstream *up)
{
	up->is_in_doubt = state_is_in_doubt(s, &up->dial.addr);
	if (up->is_in_doubt)
		refuse(up,
		       "the control plane is away, and has not told of a pod with this address: it "
		       "may be of the mesh");
}

static void resolve_service(const struct state *s, const struct wish *wish, struct upstream *up)
{
	const struct service_def *d = wish->service->def;
	const struct cv_sockaddr *orig = wish->orig;
	const struct endpoint *e;
	struct cv_sockaddr at;

	if (d->waypoint.hbone_port && !is_waypoint_itself(wish->src, &d->waypoint)) {
		if (wish->node && d->vips_count) /* what it knows the service by */
			up->target = (struct cv_sockaddr){d->vips[0].addr, orig->port, 0};
		resolve_waypoint(s, wish->src, &d->waypoint, wish->choice, up);
		return;
	}
	if (d->lb_mode == SERVICE_LB_PASSTHROUGH) {
		up->kind = UPSTREAM_PASSTHROUGH;
		return;
	}
	e = pick_endpoint(wish);
	if (!e) {
		refuse(up, RESOLVE_NO_UPSTREAM);
		return;
	}
	if (pick_is_named(e->workload)) {
		set_named(up, e->workload, pick_port(up->service, e->link, ntohs(orig->port)));
		return;
	}
	at = pick_at(up->service, e, orig);
	set_endpoint(s, wish->choice, e->workload, &at, up);
	set_chosen(up, up->service, &at);
}

/* The address of the family that was asked for; another one; NULL: all have failed. */
static const struct cv_addr *pick_of_name(const struct upstream *up,
					  const struct resolve_addrs *of_name,
					  const struct resolve_choice *choice)
{
	bool is_v4 = cv_addr_is_v4(&up->target.addr);
	bool is_first = up->workload->is_first_address || !of_name->count;
	size_t at = is_first ? 0 : choice->random % of_name->count;
	const struct cv_addr *other = NULL;

	for (size_t i = 0; i < of_name->count; i++) {
		const struct cv_addr *a = &of_name->addrs[(at + i) % of_name->count];

		if (pick_is_avoided(choice, a, ntohs(up->dial.port)))
			continue;
		if (cv_addr_is_v4(a) == is_v4)
			return a;
		other = other ? other : a;
	}
	return other;
}

/* Is there anything to try when @addr fails: of the same name, or of one that has not failed? */
static bool has_others(const struct upstream *up, const struct resolve_addrs *of_name,
		       const struct resolve_choice *choice, const struct cv_addr *addr)
{
	for (size_t i = 0; i < of_name->count; i++)
		if (!cv_addr_equal(&of_name->addrs[i], addr) &&
		    !pick_is_avoided(choice, &of_name->addrs[i], ntohs(up->dial.port)))
			return true;
	return up->service->endpoints_count > choice->avoid_named_count + 1;
}

/* What has the address for its own: a range that holds it is a way for who dials it, the names that
 * lead there have their own. */
static const struct service *frontend_at(const struct state *s, const struct workload *src,
					 const struct cv_sockaddr *at)
{
	const struct service *v = state_service_by_vip(s, &at->addr, src->app->namespace_);

	return service_has_port(v, ntohs(at->port)) ? v : NULL;
}

/* The name is a service's. Return: false where that has names itself, the very one that was asked
 * for maybe: then the address is what they lead to. */
static bool resolve_alias(const struct state *s, const struct wish *wish, struct upstream *up)
{
	struct upstream there = *up;

	there.service = wish->service;
	resolve_service(s, wish, &there);
	if (there.kind == UPSTREAM_NAMED)
		return false;
	there.has_others |= up->has_others;
	*up = there;
	return true;
}

void resolve_named(const struct state *s, const struct workload *src,
		   const struct resolve_addrs *of_name, const struct resolve_choice *choice,
		   struct upstream *up)
{
	const struct cv_addr *addr = pick_of_name(up, of_name, choice);
	struct resolve_choice of_all = *choice; /* the lot was another service's */
	struct cv_sockaddr at = {.port = up->dial.port};
	struct wish wish = {.src = src, .orig = &at, .choice = &of_all};
	bool is_known;

	if (!addr) {
		refuse(up, RESOLVE_NO_ADDRESS);
		return;
	}
	of_all.among = CV_CHOICE_ALL;
	at.addr = *addr;
	up->endpoint = up->target = up->dial = at;
	up->has_others = has_others(up, of_name, choice, addr);
	is_known = state_workload_by_addr(s, addr);
	wish.service = is_known ? NULL : frontend_at(s, src, &at);
	if (wish.service && resolve_alias(s, &wish, up))
		return;
	set_endpoint(s, choice, up->workload, &at, up);
	if (up->kind == UPSTREAM_TCP && !is_known && !wish.service)
		refuse_in_doubt(s, up);
}

void resolve_outbound(const struct state *s, const struct workload *src,
		      const struct cv_sockaddr *orig, uint32_t random, struct upstream *ret)
{
	const struct resolve_choice choice = {.random = random};

	resolve_outbound_again(s, src, orig, &choice, ret);
}

/* What passes as it is, under REGISTRY_ONLY: a port of an entry with this address, or one that an
 * entry without addresses registers of any host. */
static bool is_registered(const struct state *s, const struct workload *src,
			  const struct cv_sockaddr *orig, const struct service *service)
{
	uint16_t port = ntohs(orig->port);

	if (!state_is_registry_only(s))
		return true;
	return service_has_port(service, port) || state_is_open_port(s, port, src->app->namespace_);
}

static void resolve_workload(const struct state *s, const struct wish *wish,
			     const struct workload *w, struct upstream *up)
{
	const struct gateway_ref *waypoint = &w->app->waypoint;

	up->target = *wish->orig;
	if (waypoint->hbone_port && !is_waypoint_itself(wish->src, waypoint))
		resolve_waypoint(s, wish->src, waypoint, wish->choice, up);
	else
		set_workload(up, w, &wish->orig->addr, ntohs(wish->orig->port));
}

/* At an address that no workload has. */
static void resolve_frontend(const struct state *s, const struct wish *wish, struct upstream *up)
{
	struct wish there = *wish;
	struct frontend f;

	state_frontend(s, wish->orig, wish->src->app->namespace_, &f);
	there.orig = &f.to;
	there.service = up->service = f.service;
	there.node = f.node;
	if (f.workload)
		resolve_workload(s, &there, f.workload, up);
	else if (f.service)
		resolve_service(s, &there, up);
	if (up->kind != UPSTREAM_PASSTHROUGH)
		return;
	if (!f.service)
		refuse_in_doubt(s, up);
	if (up->is_in_doubt)
		return;
	if (wish->choice->meant)
		refuse(up, GONE);
	else if (!is_registered(s, wish->src, wish->orig, up->service))
		refuse(up, "not in the registry, and outboundTrafficPolicy is REGISTRY_ONLY");
}

/* Is @w another pod than it was meant for, which had the address before? */
static bool is_another(const struct workload *w, const struct workload *meant)
{
	return meant && (!streq(w->uid, meant->uid) || w->incarnation != meant->incarnation);
}

void resolve_outbound_again(const struct state *s, const struct workload *src,
			    const struct cv_sockaddr *orig, const struct resolve_choice *choice,
			    struct upstream *ret)
{
	const struct wish wish = {.src = src, .orig = orig, .choice = choice};
	const struct workload *w;

	*ret = (struct upstream){.kind = UPSTREAM_PASSTHROUGH, .dial = *orig, .target = *orig};
	if (!src) {
		refuse(ret, "source is not a known workload");
		return;
	}
	if (cv_addr_is_loopback(&orig->addr) || cv_addr_is_any(&orig->addr) || !orig->port) {
		refuse(ret, "no original destination");
		return;
	}
	w = state_workload_by_addr(s, &orig->addr);
	/* Istio's control plane has an entry's endpoint at its address, which the entry may have */
	if (w && w->protocol != WORKLOAD_HBONE && frontend_at(s, src, orig))
		w = NULL;
	if (w)
		resolve_workload(s, &wish, w, ret);
	else
		resolve_frontend(s, &wish, ret);
	if (w && ret->kind == UPSTREAM_TCP && is_another(w, choice->meant))
		refuse(ret, GONE);
}

static const struct workload_service *service_link(const struct workload *w, const char *key)
{
	for (size_t i = 0; i < w->app->services_count; i++)
		if (streq(w->app->services[i].key, key))
			return &w->app->services[i];
	return NULL;
}

static bool hostname_is_valid(const char *host, size_t len)
{
	return len > 0 && len <= HOSTNAME_MAX &&
	       strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") == len;
}

/* Split "host:port" in place of @host. Return: 0; -1 malformed. */
static int authority_split(const char *authority, char host[HOSTNAME_MAX + 1], uint16_t *ret_port)
{
	const char *colon = strrchr(authority, ':');
	size_t len = colon ? (size_t)(colon - authority) : 0;
	uint64_t port;

	if (!colon || len > HOSTNAME_MAX || str_parse_u64(colon + 1, 1, UINT16_MAX, &port) < 0)
		return -1;
	memcpy(host, authority, len);
	host[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (host[i] >= 'A' && host[i] <= 'Z')
			host[i] = (char)(host[i] - 'A' + 'a');
	if (len && host[len - 1] == '.')
		host[len - 1] = '\0';
	if (!hostname_is_valid(host, strlen(host)))
		return -1;
	*ret_port = (uint16_t)port;
	return 0;
}

static bool is_own_port(uint16_t port)
{
	return port == CV_HBONE_PORT || port == OUTBOUND_PORT || port == INBOUND_PORT;
}

/* "host:port": the service's port leads to ours, if we are one of its endpoints. */
static int resolve_hostname(const struct state *s, const struct workload *dst,
			    const char *authority, uint16_t *ret_port,
			    const struct service **ret_service)
{
	char host[HOSTNAME_MAX + 1];
	const struct workload_service *link;
	const struct service *v;
	uint16_t port;

	if (authority_split(authority, host, &port) < 0)
		return STATUS_BAD_REQUEST;
	v = dst ? state_service_by_hostname(s, host, dst->app->namespace_) : NULL;
	link = v ? service_link(dst, v->def->key) : NULL;
	if (!link)
		return STATUS_UNAVAILABLE;
	port = pick_port(v, link, port);
	if (!port)
		return STATUS_UNAVAILABLE;
	*ret_port = port;
	*ret_service = v;
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size) */
int resolve_inbound(const struct state *s, const struct workload *dst, const char *authority,
		    const struct cv_addr *tunnel, struct cv_sockaddr *ret_target,
		    const struct service **ret_service)
{
	const struct service *v = NULL;
	struct cv_sockaddr target;
	uint16_t port;
	int status;

	if (cv_sockaddr_parse(authority, &target) == 0) {
		if (!target.port || !cv_addr_equal(&target.addr, tunnel))
			return STATUS_BAD_REQUEST;
		port = ntohs(target.port);
	} else {
		status = resolve_hostname(s, dst, authority, &port, &v);
		if (status)
			return status;
	}
	if (!dst || is_own_port(port))
		return STATUS_UNAVAILABLE;
	ret_target->addr = *tunnel;
	ret_target->port = htons(port);
	ret_target->zero = 0;
	*ret_service = v;
	return 0;
}

static bool leads_to(const struct service *v, const struct workload_service *link, uint16_t port)
{
	for (size_t i = 0; i < v->def->ports_count; i++)
		if (pick_port(v, link, v->def->ports[i].service_port) == port)
			return true;
	return false;
}

const struct service *resolve_served(const struct state *s, const struct workload *dst,
				     uint16_t port, const char *host)
{
	const struct service *first = NULL;

	for (size_t i = 0; dst && i < dst->app->services_count; i++) {
		const struct workload_service *link = &dst->app->services[i];
		const struct service *v = state_service_by_key(s, link->key);

		if (!v)
			continue;
		if (host && streq(v->def->hostname, host))
			return v;
		if (!first && leads_to(v, link, port))
			first = v;
	}
	return first;
}
