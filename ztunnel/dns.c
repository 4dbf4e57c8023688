/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/dns_internal.h"
#include "ztunnel/memory.h"
#include "ztunnel/state.h"

#define TARGET         "dns"
#define DEFAULT_DOMAIN "cluster.local"
#define NUMBER_MASK    0x003fffff /* of 127.64.0.0/10 */
#define LOOPBACK_BASE  0x7f400000
#define SLOTS_MAX      16384
#define LEAVE_US       (5 * 1000 * 1000) /* a query is answered, or has failed, before */

static void pod_retry(struct dns_pod *pod)
{
	dns_udp_retry(pod);
	dns_tcp_retry(pod);
	dns_resolver_retry(pod);
}

/* @heir: NULL: any. */
static void leaving_retry(struct dns *d, const struct dns_pod *heir)
{
	struct dns_pod *pod;

	list_for_each_entry (pod, &d->leaving, link)
		if (!heir || dns_pod_heir(pod) == heir)
			pod_retry(pod);
}

struct dns_pod *dns_pod_heir(const struct dns_pod *pod)
{
	return pod->is_leaving
		       ? map_get(pod->dns->pods, &pod->netns_cookie, sizeof(pod->netns_cookie))
		       : NULL;
}

const struct cv_addr *dns_nameserver_of(const struct dns_pod *pod, const struct cv_addr *local,
					uint32_t slot)
{
	struct cv_nameserver_slot key = {.netns_cookie = pod->netns_cookie, .slot = slot};
	uint32_t v4 = ntohl(local->w[3]);

	/* of a machine inside the pod: it has come to the nameserver's own address */
	if (!cv_addr_is_loopback(local))
		return local;
	if (!cv_addr_is_v4(local))
		return map_get(pod->dns->slots, &key, sizeof(key));
	if ((v4 & ~(uint32_t)NUMBER_MASK) != LOOPBACK_BASE ||
	    (v4 & NUMBER_MASK) > CV_MAX_NAMESERVERS)
		return NULL;
	return pod->dns->numbers[v4 & NUMBER_MASK];
}

int dns_hold(struct dns_pod *pod, size_t n)
{
	struct dns *d = pod->dns;
	size_t after = pod->held + n;

	if (after > DNS_POD_BYTES || (after > DNS_SHARE_BYTES && d->held + n > DNS_ALL_BYTES))
		return -ENOBUFS;
	pod->held += n;
	d->held += n;
	return 0;
}

int dns_hold_new(struct dns_pod *pod, size_t n)
{
	return memory_is_short(loop_now_us(pod->dns->loop)) ? -ENOBUFS : dns_hold(pod, n);
}

void dns_let_go(struct dns_pod *pod, size_t n)
{
	pod->held -= n;
	pod->dns->held -= n;
}

int dns_name_at(struct dns *d, uint64_t netns_cookie, const struct cv_addr *addr, char host[256])
{
	const struct dns_wildcard_dial dial = {
		.addr = *addr, .pod = netns_cookie, .now_us = loop_now_us(d->loop)};
	const char *name = dns_wildcard_name(d->wildcards, host, &dial);

	return name && str_copy(host, 256, name) == 0 ? 0 : -EADDRNOTAVAIL;
}

/* What a pod asks for, if the mesh knows it. Return: 0; -ENOENT: to be forwarded; -EBADMSG. */
static int match_find(struct dns_pod *pod, const struct dns_request *query, struct dns_query *ret_q,
		      struct dns_match *ret)
{
	const struct dns *d = pod->dns;
	int r = dns_query_parse(query->packet, query->len, ret_q);

	if (r == -ENOTSUP || (r == 0 && ret_q->type != DNS_TYPE_A && ret_q->type != DNS_TYPE_AAAA))
		return -ENOENT;
	if (r < 0)
		return r;
	return d->state ? dns_lookup(d->state, &pod->client, d->cluster_domain, ret_q->name, ret)
			: -ENOENT;
}

static size_t answer_write(struct dns *d, const struct dns_request *query,
			   const struct dns_query *q, const struct dns_answer *a)
{
	d->stats.answered++;
	return dns_answer_write(query->packet, q, a, d->answer,
				query->is_tcp ? sizeof(d->answer) : q->udp_size);
}

int dns_try_answer(struct dns_pod *pod, const struct dns_request *query, size_t *ret_len)
{
	struct dns_answer a = {.is_authoritative = true, .ttl_s = DNS_TTL_S};
	struct cv_addr addrs[DNS_ADDRS_MAX];
	struct dns_match match;
	struct dns_query q;
	int r = match_find(pod, query, &q, &match);

	if (r < 0)
		return r;
	/* is there such a name at all? */
	if (dns_wildcard_has(match.service))
		return -ENOENT;
	a.addrs = addrs;
	a.addrs_count = dns_addrs(&match, (enum dns_type)q.type, addrs);
	a.cname = match.cname[0] ? match.cname : NULL;
	*ret_len = answer_write(pod->dns, query, &q, &a);
	return *ret_len ? 0 : -EBADMSG;
}

static void wildcard_full(struct dns *d, const char *name, const char *host)
{
	uint64_t n = dns_wildcard_refused(d->wildcards, loop_now_us(d->loop));

	d->stats.wildcard_full++;
	if (n)
		log_warn(TARGET,
			 "no address left below a wildcard name=\"%s\" host=\"%s\" refused=%llu",
			 name, host, (unsigned long long)n);
}

size_t dns_substitute(struct dns_pod *pod, const struct dns_request *query, const uint8_t *reply)
{
	struct dns_answer a = {.is_authoritative = true, .ttl_s = DNS_TTL_S};
	struct dns *d = pod->dns;
	struct dns_wildcard_ask ask;
	struct dns_match match;
	struct cv_addr addr;
	struct dns_query q;
	int r;

	/* what the pod's resolver has lengthened, it asks for as it is, too */
	if (!dns_has_answer(reply) || match_find(pod, query, &q, &match) < 0 ||
	    !dns_wildcard_has(match.service) || !streq(match.name, q.name))
		return 0;
	ask = (struct dns_wildcard_ask){.name = q.name,
					.pod = pod->netns_cookie,
					.now_us = loop_now_us(d->loop),
					.is_v4 = q.type == DNS_TYPE_A};
	r = dns_wildcard_take(d->wildcards, match.service, &ask, &addr);
	a.addrs = &addr;
	a.addrs_count = r == 0;
	if (r < 0 && r != -EAFNOSUPPORT) {
		a.rcode = DNS_SERVFAIL;
		wildcard_full(d, q.name, match.service->def->hostname);
	}
	return answer_write(d, query, &q, &a);
}

struct dns_request dns_request_of(const struct dns_pod *pod, const uint8_t *packet, size_t len,
				  bool is_tcp)
{
	const struct state *s = pod->dns->state;

	return (struct dns_request){.source = s ? state_workload_by_uid(s, pod->uid) : NULL,
				    .packet = packet,
				    .len = len,
				    .is_tcp = is_tcp};
}

void dns_count_named(struct dns *d, uint64_t netns_cookie, const char *host)
{
	const struct dns_pod *pod = map_get(d->pods, &netns_cookie, sizeof(netns_cookie));
	const struct workload *source =
		pod && d->state ? state_workload_by_uid(d->state, pod->uid) : NULL;

	dns_metrics_named(d->metrics, source, host);
}

size_t dns_fail(struct dns *d, const struct dns_request *request)
{
	struct dns_answer a = {.rcode = DNS_SERVFAIL};
	struct dns_query q;
	int r = dns_query_parse(request->packet, request->len, &q);

	dns_metrics_count(d->metrics, request, DNS_FAILED);
	if (r == -ENOTSUP)
		return dns_refusal_write(request->packet, DNS_SERVFAIL, d->answer);
	return r < 0 ? 0 : dns_answer_write(request->packet, &q, &a, d->answer, q.udp_size);
}

const struct cv_addr *dns_server(const struct dns_pod *pod, const struct cv_addr *asked,
				 unsigned int nth)
{
	const struct cv_addr *all[1 + ZDS_NAMESERVERS] = {asked};
	unsigned int n = 1;

	for (size_t i = 0; i < pod->nameservers_count; i++)
		if (!cv_addr_equal(&pod->nameservers[i], asked))
			all[n++] = &pod->nameservers[i];
	return all[nth % n];
}

unsigned int dns_tries(const uint8_t *packet, size_t len)
{
	return len >= DNS_HEADER_LEN && dns_is_question(packet) && !dns_is_transfer(packet, len)
		       ? DNS_TRIES
		       : 1;
}

int dns_new(const struct dns_config *config, struct dns **ret)
{
	_cleanup_(dns_freep) struct dns *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->loop = config->loop;
	list_init(&d->leaving);
	d->config = *config;
	dns_set_cluster_domain(d, NULL);
	r = map_new(&d->pods);
	if (r == 0)
		r = map_new(&d->slots);
	if (r == 0)
		r = dns_metrics_new(&d->metrics);
	if (r == 0)
		r = dns_wildcards_new(&d->wildcards);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

static void pod_free(struct dns_pod *pod)
{
	loop_timer_del(&pod->leave);
	list_del(&pod->link);
	dns_udp_fail_all(pod);
	dns_tcp_fail_all(pod);
	pod->resolver = dns_resolver_free(pod->resolver);
	for (size_t i = 0; i < CV_DNS_PORTS; i++) {
		loop_del(&pod->udp[i].w);
		close_fd(pod->udp[i].w.fd);
	}
	accept_pause_end(&pod->accept_pause);
	loop_del(&pod->tcp.w);
	close_fd(pod->tcp.w.fd);
	for (size_t i = 0; i < ARRAY_SIZE(pod->udp_stock); i++) {
		dns_stock_drop(&pod->udp_stock[i]);
		dns_stock_drop(&pod->tcp_stock[i]);
	}
	free(pod);
}

static void on_leave(struct loop_timer *t)
{
	pod_free(container_of(t, struct dns_pod, leave));
}

static void pod_leave(struct dns_pod *pod)
{
	struct dns *d = pod->dns;

	pod->is_leaving = true;
	pod->leave.on_timer = on_leave;
	list_add_tail(&d->leaving, &pod->link);
	/* who waits for sockets now waits for its heir's, or in vain */
	pod_retry(pod);
	if (loop_timer_set(d->loop, &pod->leave, LEAVE_US) < 0)
		pod_free(pod);
}

struct dns *dns_free(struct dns *d)
{
	struct dns_pod *pod, *tmp;

	if (!d)
		return NULL;
	list_for_each_entry_safe (pod, tmp, &d->leaving, link)
		pod_free(pod);
	if (d->pods)
		map_for_each (d->pods, it)
			pod_free(it.value);
	if (d->slots)
		map_for_each (d->slots, it)
			free(it.value);
	for (size_t i = 0; i < ARRAY_SIZE(d->numbers); i++)
		free(d->numbers[i]);
	map_free(d->pods);
	map_free(d->slots);
	state_unref(d->state);
	dns_metrics_free(d->metrics);
	dns_wildcards_free(d->wildcards);
	free(d);
	return NULL;
}

void dns_set_state(struct dns *d, struct state *s)
{
	struct state *old = d->state;

	d->state = state_ref(s);
	state_unref(old);
}

/* Domains that a pod without a list of its own is taken to have. */
static void search_assume(struct dns_pod *pod)
{
	const char *domain = pod->dns->cluster_domain;
	size_t size = sizeof(pod->search);
	int n;

	memset(pod->search, 0, size);
	n = snprintf(pod->search, size, "%s.svc.%s%csvc.%s%c%s", pod->namespace_, domain, '\0',
		     domain, '\0', domain);
	/* cut in the middle of a domain it would be another one */
	if (n < 0 || (size_t)n + 1 >= size)
		memset(pod->search, 0, size);
}

static void search_split(struct dns_pod *pod)
{
	const char *end = pod->search + sizeof(pod->search);
	char *s = pod->search;

	pod->client.search_count = 0;
	while (s < end && *s && pod->client.search_count < DNS_SEARCH_MAX) {
		size_t len = strnlen(s, (size_t)(end - s));

		if (s + len == end)
			break;
		for (size_t i = 0; i < len; i++)
			if (s[i] >= 'A' && s[i] <= 'Z')
				s[i] = (char)(s[i] - 'A' + 'a');
		if (len < DNS_NAME_SIZE)
			pod->client.search[pod->client.search_count++] = s;
		s += len + 1;
	}
}

void dns_set_cluster_domain(struct dns *d, const char *domain)
{
	if (!domain || !*domain ||
	    str_copy(d->cluster_domain, sizeof(d->cluster_domain), domain) < 0)
		(void)str_copy(d->cluster_domain, sizeof(d->cluster_domain), DEFAULT_DOMAIN);
	if (!d->pods)
		return;
	map_for_each (d->pods, it) {
		struct dns_pod *pod = it.value;

		if (!pod->client.is_assumed)
			continue;
		search_assume(pod);
		search_split(pod);
	}
}

static int listener_add(struct dns_pod *pod, struct dns_listener *l,
			void (*fn)(struct loop_fd *, uint32_t))
{
	int r;

	l->pod = pod;
	l->w.on_event = fn;
	r = loop_add(pod->dns->loop, &l->w, EPOLLIN);
	/* /dev/null stands in where the kernel has no IPv6 */
	return r == -EPERM ? 0 : r;
}

static int pod_start(struct dns_pod *pod)
{
	int r = listener_add(pod, &pod->tcp, dns_tcp_on_accept);

	for (uint32_t i = 0; i < CV_DNS_PORTS && r == 0; i++) {
		pod->udp[i].slot = i;
		r = listener_add(pod, &pod->udp[i], dns_udp_on_event);
	}
	if (r < 0)
		return r;
	return map_put(pod->dns->pods, &pod->netns_cookie, sizeof(pod->netns_cookie), pod);
}

static void close_all(const int *udp_fds, int tcp_fd)
{
	for (size_t i = 0; i < CV_DNS_PORTS; i++)
		close_fd(udp_fds[i]);
	close_fd(tcp_fd);
}

int dns_pod_add(struct dns *d, uint64_t netns_cookie, const struct zds_pod_add *add,
		const int *udp_fds, int tcp_fd)
{
	struct dns_pod *old = map_get(d->pods, &netns_cookie, sizeof(netns_cookie));
	struct dns_pod *pod = calloc(1, sizeof(*pod));
	int r;

	if (!pod) {
		close_all(udp_fds, tcp_fd);
		return -ENOMEM;
	}
	pod->dns = d;
	pod->netns_cookie = netns_cookie;
	list_init(&pod->link);
	list_init(&pod->queries);
	list_init(&pod->clients);
	memcpy(pod->uid, add->uid, sizeof(pod->uid) - 1);
	memcpy(pod->namespace_, add->namespace_, sizeof(pod->namespace_) - 1);
	pod->client.namespace_ = pod->namespace_;
	memcpy(pod->search, add->search, sizeof(pod->search));
	pod->client.is_assumed = !add->has_resolv_conf;
	if (pod->client.is_assumed)
		search_assume(pod);
	search_split(pod);
	pod->addrs_count = MIN((size_t)add->addr_count, (size_t)ZDS_MAX_ADDRS);
	memcpy(pod->addrs, add->addrs, sizeof(pod->addrs));
	pod->nameservers_count = MIN((size_t)add->nameserver_count, (size_t)ZDS_NAMESERVERS);
	memcpy(pod->nameservers, add->nameservers, sizeof(pod->nameservers));
	for (size_t i = 0; i < CV_DNS_PORTS; i++)
		pod->udp[i].w.fd = udp_fds[i];
	pod->tcp.w.fd = tcp_fd;
	r = pod_start(pod);
	if (r < 0)
		pod_free(pod);
	else if (old)
		pod_leave(old);
	return r;
}

void dns_pod_del(struct dns *d, uint64_t netns_cookie)
{
	struct dns_pod *pod = map_del(d->pods, &netns_cookie, sizeof(netns_cookie));

	/* its slots stay: a pod that is handed in again, by a new agent, comes after its
	 * nameservers */
	if (pod)
		pod_free(pod);
}

void dns_pod_leave(struct dns *d, uint64_t netns_cookie)
{
	struct dns_pod *pod = map_del(d->pods, &netns_cookie, sizeof(netns_cookie));

	if (pod)
		pod_leave(pod);
}

bool dns_is_idle(const struct dns *d)
{
	return d->queries == 0 && d->tcp_queries == 0;
}

/* Cookies are never used twice, so slots of pods that are gone only take room. */
static void slots_sweep(struct dns *d)
{
	map_for_each (d->slots, it) {
		struct cv_nameserver_slot key;

		memcpy(&key, it.key, sizeof(key));
		if (map_get(d->pods, &key.netns_cookie, sizeof(key.netns_cookie)))
			continue;
		free(it.value);
		map_del(d->slots, &key, sizeof(key));
	}
}

static int slot_set(struct dns *d, const struct zds_nameserver *ns)
{
	struct cv_nameserver_slot key = {.netns_cookie = ns->netns_cookie, .slot = ns->slot};
	struct cv_addr *addr = map_get(d->slots, &key, sizeof(key));
	int r;

	if (ns->slot >= CV_DNS_PORTS)
		return -EINVAL;
	if (addr) {
		*addr = ns->addr;
		return 0;
	}
	if (map_count(d->slots) >= SLOTS_MAX)
		slots_sweep(d);
	if (map_count(d->slots) >= SLOTS_MAX)
		return -ENOSPC;
	addr = malloc(sizeof(*addr));
	if (!addr)
		return -ENOMEM;
	*addr = ns->addr;
	r = map_put(d->slots, &key, sizeof(key), addr);
	if (r < 0)
		free(addr);
	return r;
}

static int number_set(struct dns *d, const struct zds_nameserver *ns)
{
	struct cv_addr **addr;

	if (ns->number == 0 || ns->number > CV_MAX_NAMESERVERS)
		return -EINVAL;
	addr = &d->numbers[ns->number];
	if (!*addr)
		*addr = malloc(sizeof(**addr));
	if (!*addr)
		return -ENOMEM;
	**addr = ns->addr;
	return 0;
}

void dns_nameserver(struct dns *d, const struct zds_nameserver *ns)
{
	int r = ns->netns_cookie ? slot_set(d, ns) : number_set(d, ns);

	if (r < 0) {
		log_warn(TARGET, "nameserver left out number=%u slot=%u: %s", ns->number, ns->slot,
			 strerrordesc_np(-r));
		return;
	}
	map_for_each (d->pods, it)
		pod_retry(it.value);
	leaving_retry(d, NULL);
}

/* NOLINTNEXTLINE(readability-function-size) */
void dns_sockets_give(struct dns *d, uint64_t netns_cookie, uint32_t kind, uint32_t family,
		      const int *fds, size_t count)
{
	struct dns_pod *pod = map_get(d->pods, &netns_cookie, sizeof(netns_cookie));
	struct dns_stock *s = NULL;

	if (pod && family <= ZDS_INET6)
		s = kind == CV_SOCKET_DNS ? &pod->udp_stock[family] : &pod->tcp_stock[family];
	for (size_t i = 0; i < count; i++) {
		if (s && s->count < DNS_STOCK_MAX)
			s->fds[s->count++] = fds[i];
		else
			close_fd(fds[i]);
	}
	if (!s)
		return;
	/* an empty answer keeps the pause before the next request */
	if (count)
		s->asked_us = 0;
	pod_retry(pod);
	leaving_retry(d, pod);
}

int dns_metrics(void *arg, struct buf *into)
{
	const struct dns *d = arg;
	const struct {
		const char *name;
		const char *help;
		uint64_t value;
	} counters[] = {
		{"culvert_dns_own_requests",
		 "Total number of names that were looked up for ServiceEntries", d->stats.own},
		{"culvert_dns_own_failures",
		 "Total number of look-ups for ServiceEntries that failed", d->stats.own_failures},
		{"culvert_dns_answered", "Total number of DNS requests answered from the mesh",
		 d->stats.answered},
		{"culvert_dns_wildcard_full",
		 "Total number of names below a wildcard host that no address was left for",
		 d->stats.wildcard_full},
		{"culvert_dns_dropped",
		 "Total number of DNS messages dropped: malformed, from outside the pod, or over a "
		 "limit",
		 d->stats.dropped},
	};
	int r = dns_metrics_write(d->metrics, into);

	for (size_t i = 0; i < ARRAY_SIZE(counters) && r == 0; i++)
		r = buf_printf(into, "# HELP %s %s.\n# TYPE %s counter\n%s_total %" PRIu64 "\n",
			       counters[i].name, counters[i].help, counters[i].name,
			       counters[i].name, counters[i].value);
	return r;
}
