/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_metrics.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "base/str.h"
#include "ztunnel/dns_wire.h"
#include "ztunnel/state.h"

#define SERIES_MAX 1024
#define UNKNOWN    "unknown"
#define NAME       "istio_dns_upstream_request_duration_seconds"

/* Upper bounds in microseconds, as Istio has them (sorted). */
static const struct {
	uint64_t us;
	const char *text;
} bounds[] = {{1000, "0.001"}, {5000, "0.005"},  {10000, "0.01"},
	      {100000, "0.1"}, {1000000, "1.0"}, {5000000, "5.0"}};

struct series {
	uint64_t events[DNS_EVENT_MAX];
	uint64_t buckets[ARRAY_SIZE(bounds)];
	uint64_t took, took_us; /* how often, and how long in all */
};

struct dns_metrics {
	struct map *series; /* labels -> struct series */
	struct map *named;  /* labels -> uint64_t, allocated */
};

static const char *type_name(const struct dns_request *r)
{
	static const struct {
		uint16_t type;
		const char *name;
	} names[] = {
		{1, "a"},       {28, "aaaa"},  {5, "cname"}, {12, "ptr"},  {15, "mx"},
		{16, "txt"},    {33, "srv"},   {2, "ns"},    {6, "soa"},   {35, "naptr"},
		{64, "svcb"},   {65, "https"}, {257, "caa"}, {255, "any"}, {43, "ds"},
		{48, "dnskey"}, {52, "tlsa"},
	};
	struct dns_query q;

	if (dns_query_parse(r->packet, r->len, &q) < 0)
		return UNKNOWN;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].type == q.type)
			return names[i].name;
	return UNKNOWN;
}

/* Names of Kubernetes: none has a quote or a backslash; what has is not shown. */
static const char *safe(const char *s)
{
	return s && *s && !strpbrk(s, "\"\\\n") ? s : UNKNOWN;
}

static char *labels_of(const struct dns_request *r, bool is_folded)
{
	const struct workload *w = is_folded ? NULL : r->source;

	return str_format("request_query_type=\"%s\",request_protocol=\"%s\","
			  "source_canonical_service=\"%s\",source_canonical_revision=\"%s\"",
			  is_folded ? UNKNOWN : type_name(r), r->is_tcp ? "tcp" : "udp",
			  safe(w ? w->app->canonical_name : NULL),
			  safe(w ? w->app->canonical_revision : NULL));
}

static struct series *series_make(struct dns_metrics *m, const char *labels)
{
	struct series *s = calloc(1, sizeof(*s));

	if (s && map_put_str(m->series, labels, s) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

/* Return: NULL without memory: not counted. */
static struct series *series_find(struct dns_metrics *m, const struct dns_request *r)
{
	_cleanup_(freep) char *labels = labels_of(r, false), *folded = NULL;
	struct series *s = labels ? map_get_str(m->series, labels) : NULL;

	if (s || !labels)
		return s;
	if (map_count(m->series) < SERIES_MAX)
		return series_make(m, labels);
	folded = labels_of(r, true);
	s = folded ? map_get_str(m->series, folded) : NULL;
	return s || !folded ? s : series_make(m, folded);
}

int dns_metrics_new(struct dns_metrics **ret)
{
	_cleanup_(dns_metrics_freep) struct dns_metrics *m = calloc(1, sizeof(*m));
	int r = m ? map_new(&m->series) : -ENOMEM;

	if (r == 0)
		r = map_new(&m->named);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

struct dns_metrics *dns_metrics_free(struct dns_metrics *m)
{
	if (!m)
		return NULL;
	if (m->series)
		map_for_each (m->series, it)
			free(it.value);
	if (m->named)
		map_for_each (m->named, it)
			free(it.value);
	map_free(m->series);
	map_free(m->named);
	free(m);
	return NULL;
}

void dns_metrics_count(struct dns_metrics *m, const struct dns_request *r, enum dns_event event)
{
	struct series *s = series_find(m, r);

	if (s)
		s->events[event]++;
}

void dns_metrics_took(struct dns_metrics *m, const struct dns_request *r, uint64_t took_us)
{
	struct series *s = series_find(m, r);

	if (!s)
		return;
	s->took++;
	s->took_us += took_us;
	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++)
		s->buckets[i] += took_us <= bounds[i].us;
}

static char *named_labels(const struct workload *w, const char *host)
{
	const struct workload_app *a = w ? w->app : NULL;

	return str_format("source_workload=\"%s\",source_canonical_service=\"%s\","
			  "source_canonical_revision=\"%s\",source_workload_namespace=\"%s\","
			  "source_principal=\"%s\",source_app=\"%s\",source_version=\"%s\","
			  "source_cluster=\"%s\",hostname=\"%s\"",
			  safe(w ? w->workload_name : NULL), safe(a ? a->canonical_name : NULL),
			  safe(a ? a->canonical_revision : NULL), safe(a ? a->namespace_ : NULL),
			  safe(a ? a->identity : NULL), safe(a ? a->canonical_name : NULL),
			  safe(a ? a->canonical_revision : NULL), safe(a ? a->cluster : NULL),
			  safe(host));
}

/* Return: NULL without memory: not counted. */
static uint64_t *named_make(struct dns_metrics *m, const char *labels)
{
	uint64_t *n = calloc(1, sizeof(*n));

	if (n && map_put_str(m->named, labels, n) < 0) {
		free(n);
		return NULL;
	}
	return n;
}

void dns_metrics_named(struct dns_metrics *m, const struct workload *source, const char *host)
{
	_cleanup_(freep) char *labels = named_labels(source, host), *folded = NULL;
	uint64_t *n = labels ? map_get_str(m->named, labels) : NULL;

	if (!n && labels && map_count(m->named) < SERIES_MAX)
		n = named_make(m, labels);
	else if (!n && (folded = named_labels(NULL, NULL))) {
		n = map_get_str(m->named, folded);
		n = n ? n : named_make(m, folded);
	}
	if (n)
		++*n;
}

static int named_write(const struct dns_metrics *m, struct buf *into)
{
	int r = buf_append_str(into, "# HELP istio_on_demand_dns The total number of requests that "
				     "used on-demand DNS (unstable).\n"
				     "# TYPE istio_on_demand_dns counter\n");

	map_for_each (m->named, it)
		if (r == 0)
			r = buf_printf(into, "istio_on_demand_dns_total{%s} %" PRIu64 "\n",
				       (const char *)it.key, *(const uint64_t *)it.value);
	return r;
}

static int histogram_write(const char *labels, const struct series *s, struct buf *into)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bounds) && r == 0; i++)
		r = buf_printf(into, NAME "_bucket{le=\"%s\",%s} %" PRIu64 "\n", bounds[i].text,
			       labels, s->buckets[i]);
	if (r == 0)
		r = buf_printf(into,
			       NAME "_bucket{le=\"+Inf\",%s} %" PRIu64 "\n" NAME
				    "_sum{%s} %f\n" NAME "_count{%s} %" PRIu64 "\n",
			       labels, s->took, labels, (double)s->took_us / 1e6, labels, s->took);
	return r;
}

int dns_metrics_write(const struct dns_metrics *m, struct buf *into)
{
	static const struct {
		const char *name, *help;
	} families[DNS_EVENT_MAX] = {
		[DNS_ASKED] = {"istio_dns_requests", "Total number of DNS requests"},
		[DNS_FORWARDED] = {"istio_dns_upstream_requests",
				   "Total number of DNS requests forwarded to upstream"},
		[DNS_FAILED] = {"istio_dns_upstream_failures",
				"Total number of DNS requests that no upstream answered"},
	};
	int r = 0;

	for (size_t i = 0; i < DNS_EVENT_MAX && r == 0; i++) {
		r = buf_printf(into, "# HELP %s %s (unstable).\n# TYPE %s counter\n",
			       families[i].name, families[i].help, families[i].name);
		map_for_each (m->series, it) {
			const struct series *s = it.value;

			if (r == 0 && s->events[i])
				r = buf_printf(into, "%s_total{%s} %" PRIu64 "\n", families[i].name,
					       (const char *)it.key, s->events[i]);
		}
	}
	if (r == 0)
		r = buf_append_str(into, "# HELP " NAME
					 " Total time in seconds Istio takes to get DNS response "
					 "from upstream (unstable).\n# TYPE " NAME
					 " histogram\n# UNIT " NAME " seconds\n");
	map_for_each (m->series, it) {
		const struct series *s = it.value;

		if (r == 0 && s->took)
			r = histogram_write(it.key, s, into);
	}
	return r == 0 ? named_write(m, into) : r;
}
