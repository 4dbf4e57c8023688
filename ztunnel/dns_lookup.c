/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_lookup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/dns_wildcard.h"
#include "ztunnel/state.h"

#define VIP_HOST_LEN 128

struct search {
	const struct state *state;
	const struct dns_client *client;
	const char *cluster_domain;
	const struct workload *pod; /* of the last hit, if its name was asked for */
	bool is_wildcard;           /* of the last hit */
};

/* Is @domain the cluster's, or below it? */
static bool is_cluster_domain(const char *domain, const char *cluster_domain)
{
	size_t n = strlen(domain), len = strlen(cluster_domain);

	return str_has_suffix(domain, cluster_domain) && (n == len || domain[n - len - 1] == '.');
}

static bool is_cluster_name(const char *host, const char *cluster_domain)
{
	char suffix[DNS_NAME_SIZE + 8];

	(void)snprintf(suffix, sizeof(suffix), ".svc.%s", cluster_domain);
	return str_has_suffix(host, suffix);
}

static bool is_text(const char *text, const char *s, size_t n)
{
	return strlen(text) == n && memcmp(text, s, n) == 0;
}

/* "web-0.nginx" + ".demo.svc.cluster.local": a pod that names itself below its headless service. */
static const struct service *find_pod(struct search *x, const char *name)
{
	const char *dot = strchr(name, '.');
	const struct service *v =
		dot ? state_service_by_hostname(x->state, dot + 1, x->client->namespace_) : NULL;
	size_t n = dot ? strcspn(dot + 1, ".") : 0;
	uint32_t hash;

	if (!v || !v->pod_names || !is_cluster_name(v->def->hostname, x->cluster_domain))
		return NULL;
	n += (size_t)(dot + 1 - name);
	hash = (uint32_t)map_hash(name, n);
	for (size_t i = 0; i < v->endpoints_count; i++) {
		const struct workload *w = v->endpoints[i].workload;

		if (v->pod_names[i] != hash || !is_text(w->rare->dns_name, name, n))
			continue;
		x->pod = w;
		return v;
	}
	return NULL;
}

/* A service without an address of its own answers only where its pods do: headless, in the
 * cluster's domain. */
static const struct service *find_exact(struct search *x, const char *name)
{
	const struct service *v = state_service_by_hostname(x->state, name, x->client->namespace_);

	x->pod = NULL;
	if (!v)
		return find_pod(x, name);
	if (v->def->vips_count == 0 && !is_cluster_name(v->def->hostname, x->cluster_domain))
		return NULL;
	return v;
}

/* The name itself, then "*." in place of its first label, of its first two, ... */
static const struct service *find_name(struct search *x, const char *name)
{
	const struct service *v = find_exact(x, name);
	char wild[DNS_NAME_SIZE + 2];

	x->is_wildcard = false;
	for (const char *dot = strchr(name, '.'); !v && dot; dot = strchr(dot + 1, '.')) {
		(void)snprintf(wild, sizeof(wild), "*%s", dot);
		v = find_exact(x, wild);
		x->is_wildcard = v;
	}
	return v;
}

/* The name, then the name below each domain of the pod's search list. */
static const struct service *find_expanded(struct search *x, const char *name,
					   char found[DNS_NAME_SIZE])
{
	const struct service *v = find_name(x, name);

	(void)snprintf(found, DNS_NAME_SIZE, "%s", name);
	for (size_t i = 0; !v && i < x->client->search_count; i++) {
		char full[2 * DNS_NAME_SIZE];
		int n = snprintf(full, sizeof(full), "%s.%s", name, x->client->search[i]);

		if (n >= DNS_NAME_SIZE)
			continue;
		v = find_exact(x, full);
		x->is_wildcard = false;
		memcpy(found, full, (size_t)n + 1);
	}
	return v;
}

/* Would the pod's resolver, had it no answer for this domain, go on with the cluster's domains
 * alone? Then we may answer now what it would find in the end. */
static bool may_strip(const struct search *x, size_t domain)
{
	for (size_t i = domain; i < x->client->search_count; i++)
		if (!is_cluster_domain(x->client->search[i], x->cluster_domain))
			return false;
	return true;
}

/* "httpd.demo" + ".demo.svc.cluster.local" as the resolver of the pod made it: without the part
 * that it added. */
static const struct service *find_stripped(struct search *x, const char *name,
					   char found[DNS_NAME_SIZE])
{
	const struct service *v = NULL;
	size_t len = strlen(name);

	for (size_t i = 0; !v && i < x->client->search_count; i++) {
		const char *domain = x->client->search[i];
		size_t n = strlen(domain);
		char rest[DNS_NAME_SIZE];

		if (n == 0 || len <= n + 1 || name[len - n - 1] != '.' ||
		    !streq(name + len - n, domain) || !may_strip(x, i))
			continue;
		memcpy(rest, name, len - n - 1);
		rest[len - n - 1] = '\0';
		v = find_expanded(x, rest, found);
	}
	return v;
}

/* A load balancer's and other external addresses are for those who know them, as in the cluster's
 * own DNS: kube-proxy may treat the Service differently there. */
static bool is_told(const struct service_vip *vip)
{
	return vip->len == VIP_HOST_LEN && !vip->is_external;
}

/* Has it an address to tell, not ranges alone? */
static bool has_vip(const struct service *v)
{
	for (size_t i = 0; i < v->def->vips_count; i++)
		if (is_told(&v->def->vips[i]))
			return true;
	return false;
}

/* Where in its ranges a host is, its nameserver knows; but some wildcards' ranges are ours to give
 * to the names below, and in the cluster's domain nobody knows better. */
static bool is_answered(const struct search *x, const struct service *v)
{
	return has_vip(v) || dns_wildcard_has(v) ||
	       is_cluster_name(v->def->hostname, x->cluster_domain);
}

int dns_lookup(const struct state *s, const struct dns_client *client, const char *cluster_domain,
	       const char *name, struct dns_match *ret)
{
	struct search x = {.state = s, .client = client, .cluster_domain = cluster_domain};
	char found[DNS_NAME_SIZE];
	bool is_stripped = false;
	const struct service *v;

	if (str_copy(found, sizeof(found), name) < 0 || !*name)
		return -ENOENT;
	v = client->is_assumed ? find_expanded(&x, name, found) : find_name(&x, name);
	if (!v) {
		v = find_stripped(&x, name, found);
		is_stripped = true;
	}
	/* not before: a wildcard is not to answer for a host that has an entry of its own */
	if (!v || !is_answered(&x, v))
		return -ENOENT;
	ret->service = v;
	ret->pod = x.pod;
	memcpy(ret->name, found, sizeof(ret->name));
	ret->cname[0] = '\0';
	if (is_stripped && !x.is_wildcard)
		memcpy(ret->cname, found, sizeof(ret->cname));
	return 0;
}

static void shuffle(struct cv_addr *addrs, size_t count)
{
	for (size_t i = count; i > 1; i--) {
		struct cv_addr swap = addrs[i - 1];
		uint32_t random;
		size_t k;

		random_bytes(&random, sizeof(random));
		k = random % i;
		addrs[i - 1] = addrs[k];
		addrs[k] = swap;
	}
}

static size_t add_first(const struct workload *w, bool is_v4, struct cv_addr *into)
{
	for (size_t i = 0; i < w->addrs_count; i++) {
		if (cv_addr_is_v4(&w->addrs[i]) != is_v4)
			continue;
		*into = w->addrs[i];
		return 1;
	}
	return 0;
}

size_t dns_addrs(const struct dns_match *m, enum dns_type type, struct cv_addr into[DNS_ADDRS_MAX])
{
	const struct service *v = m->service;
	bool is_v4 = type == DNS_TYPE_A;
	size_t n = 0;

	if (m->pod)
		return add_first(m->pod, is_v4, into);

	for (size_t i = 0; i < v->def->vips_count && n < DNS_ADDRS_MAX; i++)
		if (is_told(&v->def->vips[i]) && cv_addr_is_v4(&v->def->vips[i].addr) == is_v4)
			into[n++] = v->def->vips[i].addr;
	if (!has_vip(v))
		for (size_t i = 0; i < v->endpoints_count && n < DNS_ADDRS_MAX; i++)
			n += add_first(v->endpoints[i].workload, is_v4, &into[n]);
	shuffle(into, n);
	return n;
}
