/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/explain_find.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/node_port.h"
#include "ztunnel/pick.h"
#include "ztunnel/state.h"

/* A name as it was typed, and its two readings. */
struct name {
	const char *text;
	char first[EXPLAIN_NAME_MAX]; /* name part */
	char ns[EXPLAIN_NAME_MAX];    /* "" when none was given */
};

struct workload_search {
	struct name name;
	const struct workload *pod;   /* by its own name; the smallest UID of several */
	const struct workload *owner; /* by the name of what owns it */
	unsigned int count;           /* pods of that name */
	bool has_owners;              /* of that name, in several namespaces */
};

struct service_search {
	struct name name;
	const char *client_namespace;
	const struct service *found;
};

/* name_split() - "ns/name" and "name.ns"; a bare name has no namespace. */
static void name_split(const char *text, struct name *ret)
{
	const char *slash = strchr(text, '/');
	const char *dot = strchr(text, '.');

	*ret = (struct name){.text = text};
	if (slash) {
		(void)snprintf(ret->ns, sizeof(ret->ns), "%.*s", (int)(slash - text), text);
		(void)str_copy(ret->first, sizeof(ret->first), slash + 1);
		return;
	}
	(void)snprintf(ret->first, sizeof(ret->first), "%.*s",
		       dot ? (int)(dot - text) : (int)strlen(text), text);
	if (dot)
		(void)snprintf(ret->ns, sizeof(ret->ns), "%.*s", (int)strcspn(dot + 1, "."),
			       dot + 1);
}

static bool name_is(const struct name *n, const char *name, const char *namespace_)
{
	return streq(n->first, name) && (n->ns[0] == '\0' || streq(n->ns, namespace_));
}

static const struct workload *lesser(const struct workload *a, const struct workload *b)
{
	return !a || strcmp(b->uid, a->uid) < 0 ? b : a;
}

static int on_workload(void *arg, const struct workload *w)
{
	struct workload_search *search = arg;

	if (streq(search->name.text, w->uid) ||
	    name_is(&search->name, w->name, w->app->namespace_)) {
		search->pod = lesser(search->pod, w);
		search->count++;
	}
	if (name_is(&search->name, w->workload_name, w->app->namespace_)) {
		search->has_owners |=
			search->owner && !streq(search->owner->app->namespace_, w->app->namespace_);
		search->owner = lesser(search->owner, w);
	}
	return 0;
}

int explain_find_workload(const struct state *s, const char *name, const struct workload **ret,
			  char *err, size_t err_size)
{
	struct workload_search search = {0};
	const struct workload *w;
	struct cv_addr addr;

	if (cv_addr_parse(name, &addr) == 0) {
		w = state_workload_by_addr(s, &addr);
		if (!w) {
			(void)snprintf(err, err_size, "no workload has the address %s", name);
			return -ENOENT;
		}
		*ret = w;
		return 0;
	}
	name_split(name, &search.name);
	(void)state_visit_workloads(s, on_workload, &search);
	if (search.count > 1) {
		(void)snprintf(err, err_size, "several pods are called %s: name it %s/%s", name,
			       search.pod->app->namespace_, search.pod->name);
		return -ENOTUNIQ;
	}
	w = search.pod ? search.pod : search.owner;
	if (!search.pod && search.has_owners) {
		(void)snprintf(err, err_size,
			       "pods of several namespaces belong to a %s: name it %s/%s", name,
			       w->app->namespace_, name);
		return -ENOTUNIQ;
	}
	if (!w) {
		(void)snprintf(err, err_size, "no pod is called %s", name);
		return -ENOENT;
	}
	*ret = w;
	return 0;
}

/* "web", "web.demo", "demo/web" and every longer form of the host name. */
static bool service_is(const struct service_search *search, const struct service_def *d)
{
	const char *text = search->name.text;
	size_t len = strlen(text);

	if (streq(d->hostname, text))
		return true;
	if (search->name.ns[0] == '\0')
		return streq(d->name, text) && streq(d->namespace_, search->client_namespace);
	if (!name_is(&search->name, d->name, d->namespace_))
		return false;
	return strchr(text, '/') ||
	       len == strlen(search->name.first) + 1 + strlen(search->name.ns) ||
	       (strncmp(d->hostname, text, len) == 0 && d->hostname[len] == '.');
}

static int on_service(void *arg, const struct service *v)
{
	struct service_search *search = arg;

	if (service_is(search, v->def) &&
	    (!search->found || strcmp(v->def->key, search->found->def->key) < 0))
		search->found = v;
	return 0;
}

/* "*." in place of the first label, of the first two, ... */
static const struct service *find_wildcard(const struct explain_asker *a, const char *name)
{
	const struct service *v = NULL;
	char wild[EXPLAIN_NAME_MAX + 2];

	for (const char *dot = strchr(name, '.'); !v && dot; dot = strchr(dot + 1, '.')) {
		(void)snprintf(wild, sizeof(wild), "*%s", dot);
		v = state_service_by_hostname(a->state, wild, a->namespace_);
	}
	return v;
}

static const struct service *find_service(const struct explain_asker *a, const char *name)
{
	struct service_search search = {.client_namespace = a->namespace_};
	const struct service *v = state_service_by_hostname(a->state, name, a->namespace_);

	if (v)
		return v;
	name_split(name, &search.name);
	(void)state_visit_services(a->state, on_service, &search);
	return search.found;
}

/* split_port() - "[ip6]:port", "name:port"; a bare IPv6 address has colons and no port.
 * Return: 0, *@ret_port 0 when there is none; -EINVAL. */
static int split_port(const char *text, char host[EXPLAIN_NAME_MAX], uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	struct cv_addr addr;
	uint64_t port = 0;
	size_t len;

	if (cv_addr_parse(text, &addr) == 0)
		colon = NULL;
	len = colon ? (size_t)(colon - text) : strlen(text);
	if (len == 0 || len >= EXPLAIN_NAME_MAX)
		return -EINVAL;
	if (colon && str_parse_u64(colon + 1, 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	if (text[0] == '[' && text[len - 1] != ']')
		return -EINVAL;
	if (text[0] == '[') {
		text++;
		len -= 2;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	*ret_port = (uint16_t)port;
	return 0;
}

/* Of those that its name leads to. */
static const struct cv_addr *pick_vip(const struct service_def *d, bool is_v4)
{
	const struct cv_addr *first = NULL;

	for (size_t i = 0; i < d->vips_count; i++) {
		if (d->vips[i].is_external)
			continue;
		if (cv_addr_is_v4(&d->vips[i].addr) == is_v4)
			return &d->vips[i].addr;
		if (!first)
			first = &d->vips[i].addr;
	}
	return first;
}

static const struct cv_addr *own_addr(const struct workload *w, bool is_v4)
{
	for (size_t i = 0; i < w->addrs_count; i++)
		if (cv_addr_is_v4(&w->addrs[i]) == is_v4)
			return &w->addrs[i];
	return w->addrs_count > 0 ? &w->addrs[0] : NULL;
}

/* by_name() - a service comes before a pod of the same name, as DNS has it; a wildcard after both.
 */
static int by_name(const struct explain_asker *a, const char *host, struct explain_dest *d,
		   char *err, size_t err_size)
{
	const struct cv_addr *addr = NULL;
	int r = 0;

	d->service = find_service(a, host);
	if (!d->service) {
		r = explain_find_workload(a->state, host, &d->workload, err, err_size);
		if (r == -ENOENT)
			d->service = find_wildcard(a, host);
	}
	if (d->service) {
		addr = pick_vip(d->service->def, a->is_v4);
		/* Headless: names lead to its pods. */
		if (!addr && d->service->endpoints_count > 0) {
			d->workload = d->service->endpoints[0].workload;
			addr = own_addr(d->workload, a->is_v4);
		}
	} else {
		if (r == -ENOENT)
			(void)snprintf(err, err_size, "no service and no pod is called %s", host);
		if (r < 0)
			return r;
		addr = own_addr(d->workload, a->is_v4);
	}
	if (!addr) {
		(void)snprintf(
			err, err_size,
			d->service && d->service->def->lb_mode == SERVICE_LB_PASSTHROUGH
				? "%s has no address of the mesh's: name the one that its DNS "
				  "gives"
				: "%s has no address",
			host);
		return -ENOENT;
	}
	d->addr.addr = *addr;
	return 0;
}

/* As resolve_outbound() has it. */
static void by_address(const struct explain_asker *a, uint16_t port, struct explain_dest *d)
{
	const struct cv_sockaddr at = {.addr = d->addr.addr, .port = htons(port)};
	struct frontend f;

	d->workload = state_workload_by_addr(a->state, &d->addr.addr);
	if (d->workload)
		return;
	state_frontend(a->state, &at, a->namespace_, &f);
	d->service = f.service;
	d->workload = f.workload;
	d->is_host_port = f.workload;
}

/* mean() - it stands for this, too. */
static void mean(struct explain_dest *d, const struct cv_addr *addr, uint16_t port)
{
	const struct cv_sockaddr at = {.addr = *addr, .port = htons(port)};

	if (!port)
		return;
	for (size_t i = 0; i < d->meant_count; i++)
		if (cv_sockaddr_equal(&d->meant[i], &at))
			return;
	if (d->meant_count < EXPLAIN_MEANT_MAX)
		d->meant[d->meant_count++] = at;
	else
		d->more_count++;
}

/* The ports of a pod that a service leads to. */
static void mean_targets(struct explain_dest *d, const struct service *v,
			 const struct workload_service *link, const struct cv_addr *addr)
{
	for (size_t i = 0; v && i < v->def->ports_count; i++)
		mean(d, addr, pick_port(v, link, v->def->ports[i].service_port));
}

static void mean_pods(const struct explain_asker *a, uint16_t port, struct explain_dest *d)
{
	for (size_t i = 0; i < d->service->endpoints_count; i++) {
		const struct endpoint *e = &d->service->endpoints[i];
		const struct cv_addr *addr = own_addr(e->workload, a->is_v4);

		if (addr && port)
			mean(d, addr, port);
		else if (addr)
			mean_targets(d, d->service, e->link, addr);
	}
}

/* @port: 0: none was named. */
static void mean_all(const struct explain_asker *a, uint16_t port, struct explain_dest *d)
{
	if (d->service && d->workload && !d->is_host_port)
		mean_pods(a, port, d);
	else if (port)
		mean(d, &d->addr.addr, port);
	else if (d->service)
		for (size_t i = 0; i < d->service->def->ports_count; i++)
			mean(d, &d->addr.addr, d->service->def->ports[i].service_port);
	else if (d->workload)
		for (size_t i = 0; i < d->workload->app->services_count; i++) {
			const struct workload_service *link = &d->workload->app->services[i];

			mean_targets(d, state_service_by_key(a->state, link->key), link,
				     &d->addr.addr);
		}
}

int explain_find_dest(const struct explain_asker *a, const char *text, struct explain_dest *ret,
		      char *err, size_t err_size)
{
	struct explain_dest d = {0};
	char host[EXPLAIN_NAME_MAX];
	uint16_t port = 0;
	int r;

	if (split_port(text, host, &port) < 0) {
		(void)snprintf(err, err_size, "%s: expected NAME:PORT or ADDRESS:PORT", text);
		return -EINVAL;
	}
	if (cv_addr_parse(host, &d.addr.addr) == 0) {
		by_address(a, port, &d);
	} else {
		r = by_name(a, host, &d, err, err_size);
		if (r < 0)
			return r;
	}
	mean_all(a, port, &d);
	if (d.meant_count == 0) {
		(void)snprintf(err, err_size, "%s: a port is needed, as in %s:80", text, text);
		return -EINVAL;
	}
	d.addr = d.meant[0];
	*ret = d;
	return 0;
}
