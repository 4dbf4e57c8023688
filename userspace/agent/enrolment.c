/* SPDX-License-Identifier: Apache-2.0 */
#include "enrolment_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"
#include "resolvconf.h"
#include "rules.h"

#define CV_CLUSTER_ID    "Kubernetes"
#define NODE_RESOLV_CONF "/etc/resolv.conf"
#define CAPTURE_FLAGS    (CV_POD_ALIVE | CV_POD_CAPTURE)

void enrolment_entry_init(struct enrolment *e)
{
	(void)snprintf(e->entry.name, sizeof(e->entry.name), "%s", e->key);
	memset(&e->entry.addr4, 0, sizeof(e->entry.addr4));
	memset(&e->entry.addr6, 0, sizeof(e->entry.addr6));
	for (size_t i = e->addrs.count; i > 0; i--) {
		const struct cv_addr *a = &e->addrs.all[i - 1];

		if (cv_addr_is_link_local(a))
			continue;
		if (cv_addr_is_v4(a))
			e->entry.addr4 = *a;
		else
			e->entry.addr6 = *a;
	}
}

/* Never capture the node itself, whatever an annotation says. */
static int cookie_check(const struct enrolment *e, const char *netns, char *err, size_t err_size)
{
	if (e->cookie != e->ctx->home->cookie && !netns_is_of(1, &e->file))
		return 0;
	(void)snprintf(err, err_size, "%.200s is the host's network namespace, not a pod's", netns);
	return -EINVAL;
}

/* A pod that was captured before this agent started stays so. */
static int entry_adopt(struct enrolment *e)
{
	struct cv_pod old;
	int r;

	if (datapath_pod_get(e->ctx->datapath, e->cookie, &old) < 0)
		return 0;
	e->entry = old;
	e->is_captured = e->is_adopted = (old.flags & CV_POD_CAPTURE) != 0;
	e->reroute.is_on = (old.flags & CV_POD_REROUTE) != 0;
	if (!e->is_captured)
		return 0;
	e->is_guarded = (old.flags & CV_POD_DIRECT) != 0; /* until looked at */
	e->was_guarded = (old.flags & CV_POD_CAPTURE) != 0;
	datapath_pod_addrs_keep(e->ctx->datapath, e->cookie, e->addrs.all, e->addrs.count);
	for (size_t i = 0; i < e->addrs.count; i++) {
		r = datapath_pod_addr_set(e->ctx->datapath, e->cookie, &e->addrs.all[i]);
		if (r < 0)
			return r;
	}
	return datapath_lookup_attach(e->ctx->datapath, e->cookie, e->netns_fd);
}

/* Inbound rules go by address: where only the Pod's status can have said that it is its own. */
static struct rules_of rules_of(const struct enrolment *e)
{
	return (struct rules_of){
		.netns_cookie = e->cookie, .addrs = e->addrs.all, .addr_count = e->addrs.own_count};
}

/* New rules, then what makes them count, then away with old ones: what both have is in force
 * throughout. */
void enrolment_rules(struct enrolment *e, const struct podspec *spec)
{
	static const struct exclusions none;
	const struct exclusions *x = &spec->exclusions;
	struct rules_of of = rules_of(e);
	int r = rules_put(e->ctx->datapath, &of, x);

	if (r < 0 && !e->rules_error)
		log_error_errno("agent", r, "no room for a pod's exclusions: captured whole pod=%s",
				e->key);
	e->rules_error = NULL;
	if (r < 0) {
		e->rules_error = "not in force: no room in cv_outbound_rules, cv_inbound_rules or "
				 "cv_inbound_ranges";
		x = &none;
	}
	e->rules_flags = rules_flags(x);
	enrolment_flags_refresh(e);
	rules_keep(e->ctx->datapath, &of, x);
}

void enrolment_rules_forget(const struct enrolment *e)
{
	static const struct exclusions none;
	struct cv_addr addrs[ARRAY_SIZE(e->addrs.all)];
	struct rules_of of = {.netns_cookie = e->cookie, .addrs = addrs};

	/* where another pod is by now, they are that one's */
	for (size_t i = 0; i < e->addrs.own_count; i++)
		if (!enrolment_others_have(e, &e->addrs.all[i]))
			addrs[of.addr_count++] = e->addrs.all[i];
	rules_keep(e->ctx->datapath, &of, &none);
}

static int open_namespace(struct enrolment *e, const struct podspec *spec, struct look *look,
			  char *err, size_t err_size)
{
	int r;

	r = netns_open(spec->netns, &e->netns_fd, &e->file);
	if (r == 0)
		r = netns_call(e->ctx->home, e->netns_fd, look_around, look);
	if (r < 0) {
		(void)snprintf(err, err_size, "cannot enter the network namespace %.200s: %s",
			       spec->netns, strerror(-r));
		return r;
	}
	e->cookie = look->cookie;
	return cookie_check(e, spec->netns, err, err_size);
}

static int addrs_take(struct enrolment *e, const struct podspec *spec, const struct look *look,
		      char *err, size_t err_size)
{
	struct enrolment_addrs chosen;
	char why[ENROLMENT_ERROR_LEN];
	int r;

	r = addrs_choose(spec, e, look, &chosen, why);
	if (r < 0)
		(void)snprintf(err, err_size, "%s", why);
	else
		e->addrs = chosen;
	return r;
}

int enrolment_open(const struct enrolment_context *ctx, const struct podspec *spec,
		   struct enrolment **ret, char *err, size_t err_size)
{
	_cleanup_(enrolment_forgetp) struct enrolment *e = calloc(1, sizeof(*e));
	struct look look = {0};
	int r;

	if (!e)
		return -ENOMEM;
	e->ctx = ctx;
	e->netns_fd = -EBADF;
	e->is_encrypt = spec->is_encrypt;
	list_init(&e->link);
	listeners_init(&e->listeners);
	(void)snprintf(e->key, sizeof(e->key), "%s", spec->key);
	r = open_namespace(e, spec, &look, err, err_size);
	if (r == 0)
		r = addrs_take(e, spec, &look, err, err_size);
	if (r < 0)
		return r;
	r = entry_adopt(e);
	if (r < 0) {
		(void)snprintf(err, err_size, "cannot adopt the pod's entries: %s", strerror(-r));
		return r;
	}
	enrolment_entry_init(e);
	enrolment_rules(e, spec);
	if (e->is_captured)
		enrolment_guard(e);
	addrs_refused_log(e, spec->key, &(const struct enrolment_addrs){0});
	*ret = TAKE_PTR(e);
	return 0;
}

/* Its own alone: one that it has given itself may be anybody's outside the mesh, and what comes
 * from outside for that address, perhaps for this node, is not the pod's. An earlier agent put all.
 */
static void locals_put(const struct enrolment *e)
{
	for (size_t i = 0; i < e->addrs.count; i++)
		if (i < e->addrs.own_count)
			datapath_local_set(e->ctx->datapath, e->cookie, &e->addrs.all[i]);
		else
			datapath_local_del(e->ctx->datapath, e->cookie, &e->addrs.all[i]);
}

static void locals_del(const struct enrolment *e)
{
	for (size_t i = 0; i < e->addrs.count; i++)
		datapath_local_del(e->ctx->datapath, e->cookie, &e->addrs.all[i]);
}

struct enrolment *enrolment_forget(struct enrolment *e)
{
	if (!e)
		return NULL;
	guard_thread_mute(e->ctx->guards, e);
	loop_timer_del(&e->timer);
	list_del(&e->link);
	listeners_close(&e->listeners);
	close_fd(e->netns_fd);
	free(e);
	return NULL;
}

struct enrolment *enrolment_close(struct enrolment *e)
{
	if (!e)
		return NULL;
	locals_del(e);
	enrolment_reroute_end(e);
	enrolment_guard_end(e);
	datapath_lookup_detach(e->ctx->datapath, e->cookie);
	datapath_pod_del(e->ctx->datapath, e->cookie);
	enrolment_rules_forget(e);
	return enrolment_forget(e);
}

/* Without a file of its own known, a pod's nameservers are taken to be its node's. */
static void resolv_conf_fill(const struct podspec *spec, struct zds_pod_add *m)
{
	struct resolvconf c;

	_Static_assert(sizeof(c.search) == sizeof(m->search), "one list");
	m->has_resolv_conf = spec->resolv_conf && resolvconf_read(spec->resolv_conf, &c) == 0;
	if (!m->has_resolv_conf) {
		/* the host's may be a link */
		_cleanup_(freep) char *path = realpath(NODE_RESOLV_CONF, NULL);

		if (!path || resolvconf_read(path, &c) < 0)
			return;
	}
	if (m->has_resolv_conf)
		memcpy(m->search, c.search, sizeof(m->search));
	m->nameserver_count = c.nameserver_count;
	memcpy(m->nameservers, c.nameservers, sizeof(m->nameservers));
}

static void pod_add_fill(const struct enrolment *e, const struct podspec *spec,
			 struct zds_pod_add *m)
{
	memset(m, 0, sizeof(*m));
	m->h.type = ZDS_POD_ADD;
	m->netns_cookie = e->cookie;
	(void)snprintf(m->uid, sizeof(m->uid), CV_CLUSTER_ID "//Pod/%s/%s", spec->namespace_,
		       spec->name);
	(void)str_copy(m->namespace_, sizeof(m->namespace_), spec->namespace_);
	(void)str_copy(m->name, sizeof(m->name), spec->name);
	(void)str_copy(m->service_account, sizeof(m->service_account), spec->service_account);
	m->addr_count = (uint32_t)MIN(e->addrs.count, (size_t)ZDS_MAX_ADDRS);
	memcpy(m->addrs, e->addrs.all, m->addr_count * sizeof(*m->addrs));
	m->flags = CAPTURE_FLAGS | (spec->has_dns ? CV_POD_DNS : 0);
	memcpy(m->outbound_ports, e->listeners.outbound_ports, sizeof(m->outbound_ports));
	memcpy(m->dns_udp_ports, e->listeners.dns_udp_ports, sizeof(m->dns_udp_ports));
	m->dns_tcp_port = e->listeners.dns_tcp_port;
	m->incarnation = spec->incarnation;
	resolv_conf_fill(spec, m);
}

/* Vouching begins with the pod's entry: from then on its dials to itself are let through. */
static int entry_put(struct enrolment *e)
{
	int r = datapath_pod_set(e->ctx->datapath, e->cookie, &e->entry);

	for (size_t i = 0; r == 0 && i < e->addrs.count; i++)
		r = datapath_pod_addr_set(e->ctx->datapath, e->cookie, &e->addrs.all[i]);
	return r;
}

static int offer_in_namespace(void *arg)
{
	struct enrolment *e = arg;

	return listeners_open(&e->ctx->marker, &e->listeners);
}

int enrolment_offer(struct enrolment *e, const struct podspec *spec, struct zds_pod_add *ret)
{
	int r;

	listeners_close(&e->listeners);
	/* For tunnels that are open already, ztunnel dials to the pod before it has said ready. */
	r = entry_put(e);
	if (r == 0)
		r = netns_call(e->ctx->home, e->netns_fd, offer_in_namespace, e);
	if (r < 0)
		return r;
	pod_add_fill(e, spec, ret);
	return 0;
}

static int steer_set(struct enrolment *e)
{
	const struct listeners *l = &e->listeners;
	int r;

	for (size_t i = 0; i < e->addrs.count; i++) {
		if (e->unsteered & (1u << i))
			continue;
		r = datapath_steer_set(e->ctx->datapath, &e->addrs.all[i], CV_STEER_PLAIN,
				       l->fds[ZDS_LISTEN_PLAIN]);
		if (r == 0)
			r = datapath_steer_set(e->ctx->datapath, &e->addrs.all[i], CV_STEER_HBONE,
					       l->fds[ZDS_LISTEN_HBONE]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Until it is captured, a pod's addresses may still be those of the pod before it. */
static int vouch_begin(struct enrolment *e)
{
	int r = entry_put(e);

	locals_put(e);
	return r;
}

#define EXTRA_FLAGS                                                                                \
	((uint32_t)(CV_POD_UNKNOWN_TO_TUNNEL | CV_POD_DIRECT | CV_POD_REGISTRY_ONLY |              \
		    CV_POD_OUT_RULES | CV_POD_OUT_LISTED | CV_POD_REROUTE))

/* A guard of before, which the thread has still to look at, may let more skip the host than may
 * now. */
static bool may_be_direct(const struct enrolment *e)
{
	return e->ctx->bypass != GUARD_BYPASS_OFF && enrolment_is_direct(e) && e->is_guarded &&
	       !e->tunnels;
}

static uint32_t flags_extra(const struct enrolment *e)
{
	return e->rules_flags |
	       (e->ctx->is_incomplete || e->is_blind ? CV_POD_UNKNOWN_TO_TUNNEL : 0) |
	       (e->reroute.is_on ? CV_POD_REROUTE : 0) |
	       (e->ctx->is_registry_only ? CV_POD_REGISTRY_ONLY : 0) |
	       (may_be_direct(e) ? CV_POD_DIRECT : 0);
}

static int capture_put(struct enrolment *e, struct cv_pod *entry, uint32_t flags, bool has_dns)
{
	int r;

	entry->flags = flags | (has_dns ? CV_POD_DNS : 0) | flags_extra(e);
	r = datapath_pod_set(e->ctx->datapath, e->cookie, entry);
	if (r < 0)
		return r;
	e->entry = *entry;
	e->is_captured = true;
	return 0;
}

static int capture_begin(struct enrolment *e, bool has_dns)
{
	struct cv_pod entry = e->entry;

	memcpy(entry.outbound_ports, e->listeners.outbound_ports, sizeof(entry.outbound_ports));
	memcpy(entry.dns_udp_ports, e->listeners.dns_udp_ports, sizeof(entry.dns_udp_ports));
	entry.dns_tcp_port = e->listeners.dns_tcp_port;
	e->is_blind = false;
	return capture_put(e, &entry, CAPTURE_FLAGS, has_dns);
}

int enrolment_seal(struct enrolment *e, bool has_dns, bool is_blind)
{
	struct cv_pod entry = e->entry;
	int r;

	if (e->is_captured)
		return 0;
	e->is_blind = is_blind;
	r = vouch_begin(e);
	if (r == 0)
		r = datapath_lookup_attach(e->ctx->datapath, e->cookie, e->netns_fd);
	if (r < 0)
		return r;
	r = capture_put(e, &entry, CV_POD_CAPTURE, has_dns);
	if (r == 0)
		enrolment_guard(e);
	return r;
}

void enrolment_see(struct enrolment *e)
{
	e->is_blind = false;
	enrolment_flags_refresh(e);
}

int enrolment_capture(struct enrolment *e, bool has_dns)
{
	int r;

	r = vouch_begin(e);
	if (r == 0)
		r = steer_set(e);
	if (r == 0)
		r = datapath_lookup_attach(e->ctx->datapath, e->cookie, e->netns_fd);
	/* Without, a connection attempt under way may miss its second try. */
	if (r == 0 && !e->is_captured)
		enrolment_exempt(e);
	if (r == 0)
		r = capture_begin(e, has_dns);
	if (r == 0)
		enrolment_guard(e);
	listeners_close(&e->listeners);
	return r;
}

static bool is_steered(const struct enrolment *e)
{
	for (size_t i = 0; i < e->addrs.count; i++)
		if (!(e->unsteered & (1u << i)) &&
		    datapath_steer_has(e->ctx->datapath, &e->addrs.all[i]))
			return true;
	return false;
}

/* Of a ztunnel that has just gone, and had it, the sockets may be there for a moment. */
bool enrolment_ztunnel_lost(struct enrolment *e)
{
	bool had_it = e->is_acked;
	int r;

	e->is_offered = e->is_acked = false;
	listeners_close(&e->listeners);
	if (!(e->entry.flags & CV_POD_ALIVE))
		return false;
	if (!had_it && is_steered(e))
		return true;
	e->entry.flags &= ~(unsigned int)CV_POD_ALIVE;
	r = datapath_pod_set(e->ctx->datapath, e->cookie, &e->entry);
	if (r < 0)
		log_error_errno("agent", r, "cannot mark a pod as without ztunnel pod=%s", e->key);
	return false;
}

void enrolment_flags_refresh(struct enrolment *e)
{
	uint32_t flags = (e->entry.flags & ~EXTRA_FLAGS) | flags_extra(e);
	int r;

	if (!e->is_captured || flags == e->entry.flags)
		return;
	e->entry.flags = flags;
	r = datapath_pod_set(e->ctx->datapath, e->cookie, &e->entry);
	if (r < 0)
		log_error_errno("agent", r, "cannot change a pod's flags pod=%s", e->key);
}

/* A rule goes by address, and must not open another pod's. */
static bool may_let_in(const struct enrolment *e)
{
	for (size_t i = 0; i < e->addrs.own_count; i++)
		if (enrolment_others_have(e, &e->addrs.all[i]))
			return false;
	return e->addrs.own_count > 0;
}

/* All but port 15008 passes from now on. Who still takes the pod for one of the mesh dials that:
 * ztunnel listens at another port, which only sk_lookup leads to. At an address that is not the
 * pod's own ztunnel decides until the listeners go. */
static void let_in(struct enrolment *e)
{
	static const struct exclusions all_in = {.is_in_listed = true};
	struct rules_of of = rules_of(e);
	int r = -EADDRINUSE;

	if (may_let_in(e))
		r = rules_put(e->ctx->datapath, &of, &all_in);
	if (r == 0)
		rules_keep(e->ctx->datapath, &of, &all_in);
	else
		datapath_lookup_detach(e->ctx->datapath, e->cookie);
}

void enrolment_uncapture(struct enrolment *e)
{
	int r;

	if (!e->is_captured)
		return;
	e->is_captured = false;
	locals_del(e);
	enrolment_guard_end(e);
	e->entry.flags &= ~(unsigned int)(CV_POD_CAPTURE | CV_POD_DNS);
	r = datapath_pod_set(e->ctx->datapath, e->cookie, &e->entry);
	if (r < 0)
		log_error_errno("agent", r, "cannot end the capture pod=%s", e->key);
	let_in(e);
}

void enrolment_unsteer(struct enrolment *e)
{
	if (!e->is_captured)
		datapath_lookup_detach(e->ctx->datapath, e->cookie);
}

int enrolment_recapture(struct enrolment *e, bool has_dns)
{
	int r;

	r = datapath_lookup_attach(e->ctx->datapath, e->cookie, e->netns_fd);
	if (r < 0)
		return r;
	enrolment_guard(e);
	e->entry.flags &= ~EXTRA_FLAGS;
	e->entry.flags |= CV_POD_CAPTURE | (has_dns ? CV_POD_DNS : 0) | flags_extra(e);
	/* Before anything goes direct: it would be taken for from an address that is not the pod's
	 * own. */
	locals_put(e);
	r = datapath_pod_set(e->ctx->datapath, e->cookie, &e->entry);
	if (r < 0)
		return r;
	e->is_captured = true;
	return 0;
}
