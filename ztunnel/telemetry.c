/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/telemetry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/str.h"
#include "base/cel.h"
#include "ztunnel/access_log.h"
#include "ztunnel/history.h"
#include "ztunnel/signal_rules.h"
#include "ztunnel/signal_values.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry_internal.h"

#define SERIES_MAX 8192
#define LABELS_MAX 16384 /* of all metrics of a connection */
#define UNKNOWN    "unknown"

static const char *const flag_names[CONN_FLAGS_MAX] = {
	[CONN_OK] = "-",
	[CONN_DENY] = "DENY",
	[CONN_CONNECT] = "CONNECT",
	[CONN_TLS_FAILURE] = "TLS_FAILURE",
	[CONN_H2_HANDSHAKE_FAILURE] = "H2_HANDSHAKE_FAILURE",
	[CONN_NETWORK_POLICY] = "NETWORK_POLICY",
	[CONN_IDENTITY_ERROR] = "IDENTITY_ERROR",
	[CONN_CERT_REVOKED] = "CERT_REVOKED",
	[CONN_TRUST_DOMAIN] = "TRUST_DOMAIN",
};

const char *conn_flags_name(enum conn_flags flags)
{
	return flag_names[flags];
}

/* The labels of a connection. Those of several metrics, where rules make them differ, follow each
 * other with a line feed between: no label has one. */
struct labels {
	char text[LABELS_MAX];
	size_t len;
	size_t start; /* of the metric at hand */
	bool is_cut;
	enum signal_metric metric;
	const struct conn_info *info;
	const struct signal_rules *rules; /* NULL: none */
	uint32_t tags_used;               /* bit per tag of the rules */
};

const struct signal_rules *conn_info_rules(const struct conn_info *info)
{
	if (info->direction == CONN_INBOUND)
		return info->dst_workload ? info->dst_workload->app->server_rules : NULL;
	return info->src_workload ? info->src_workload->app->client_rules : NULL;
}

static void label_put(struct labels *l, const char *name, const char *value)
{
	bool is_first = l->len == l->start;
	int n;

	if (l->len + strlen(name) + 8 >= sizeof(l->text)) {
		l->is_cut = true;
		return;
	}
	n = snprintf(l->text + l->len, sizeof(l->text) - l->len, "%s%s=\"", is_first ? "" : ",",
		     name);
	l->len += n > 0 ? (size_t)n : 0;
	for (const char *s = value && *value ? value : UNKNOWN; *s; s++) {
		if (l->len + 4 >= sizeof(l->text)) {
			l->is_cut = true;
			return;
		}
		if (*s == '"' || *s == '\\' || *s == '\n')
			l->text[l->len++] = '\\';
		l->text[l->len++] = *s == '\n' ? 'n' : *s;
	}
	l->text[l->len++] = '"';
	l->text[l->len] = '\0';
}

/* As a rule says; what removes the label is no value. */
static void label_tag(struct labels *l, const struct signal_tag *tag)
{
	struct cel_value room;

	l->tags_used |= 1u << (tag - l->rules->tags);
	if (tag->expression)
		label_put(l, tag->name, signal_text(tag->expression, l->info, &room));
	else if (tag->value)
		label_put(l, tag->name, tag->value);
}

static void label(struct labels *l, const char *name, const char *value)
{
	const struct signal_tag *tag = signal_rules_tag(l->rules, name, l->metric);

	if (tag)
		label_tag(l, tag);
	else
		label_put(l, name, value);
}

/* What the rules add. */
static void label_others(struct labels *l)
{
	for (size_t i = 0; l->rules && i < l->rules->tags_count; i++)
		if (!(l->tags_used & 1u << i) && l->rules->tags[i].metrics & l->metric)
			label_tag(l, &l->rules->tags[i]);
}

static void label2(struct labels *l, const char *prefix, const char *name, const char *value)
{
	char full[64];

	(void)snprintf(full, sizeof(full), "%s_%s", prefix, name);
	label(l, full, value);
}

static void label_workload(struct labels *l, const char *prefix, const struct workload *w,
			   const char *identity)
{
	label2(l, prefix, "workload", w ? w->workload_name : NULL);
	label2(l, prefix, "canonical_service", w ? w->app->canonical_name : NULL);
	label2(l, prefix, "canonical_revision", w ? w->app->canonical_revision : NULL);
	label2(l, prefix, "workload_namespace", w ? w->app->namespace_ : NULL);
	label2(l, prefix, "principal", identity);
	label2(l, prefix, "app", w ? w->app->canonical_name : NULL);
	label2(l, prefix, "version", w ? w->app->canonical_revision : NULL);
	label2(l, prefix, "cluster", w ? w->app->cluster : NULL);
}

static void labels_of_metric(struct labels *l, const struct conn_info *info, enum conn_flags flags)
{
	const struct workload *src = info->src_workload;
	const struct workload *dst = info->dst_workload;
	const struct service_def *d = info->service ? info->service->def : NULL;

	l->start = l->len;
	l->tags_used = 0;
	label(l, "reporter", info->direction == CONN_INBOUND ? "destination" : "source");
	label_workload(l, "source", src, info->is_mtls ? info->src_identity : NULL);
	label(l, "destination_service", d ? d->hostname : NULL);
	label(l, "destination_service_namespace", d ? d->namespace_ : NULL);
	label(l, "destination_service_name", d ? d->name : NULL);
	label_workload(l, "destination", dst, info->is_mtls ? info->dst_identity : NULL);
	label(l, "request_protocol", "tcp");
	label(l, "response_flags", flag_names[flags]);
	label(l, "connection_security_policy", info->is_mtls ? "mutual_tls" : UNKNOWN);
	label(l, "source_region", src ? src->place->region : NULL);
	label(l, "source_zone", src ? src->place->zone : NULL);
	label(l, "destination_region", dst ? dst->place->region : NULL);
	label(l, "destination_zone", dst ? dst->place->zone : NULL);
	label_others(l);
}

static void labels_make(struct labels *l, const struct conn_info *info, enum conn_flags flags)
{
	l->len = 0;
	l->text[0] = '\0';
	l->is_cut = false;
	l->info = info;
	l->rules = conn_info_rules(info);
	for (size_t i = 0; i < (l->rules && l->rules->has_metric_tags ? METRICS : 1); i++) {
		if (i > 0 && l->len + 1 < sizeof(l->text))
			l->text[l->len++] = '\n';
		l->metric = 1u << i;
		labels_of_metric(l, info, flags);
	}
}

static uint32_t hidden_of(const struct labels *l)
{
	return l->rules ? l->rules->metrics_off : 0;
}

/* series_key() - labels, and what is hidden: it can differ between workloads whose labels do not.
 */
static const char *series_key(const struct labels *l, char into[LABELS_MAX + 16])
{
	(void)snprintf(into, LABELS_MAX + 16, "%u %s", hidden_of(l), l->text);
	return into;
}

static struct series *series_known(const struct telemetry *t, const struct labels *l)
{
	char key[LABELS_MAX + 16];

	return map_get_str(t->by_labels, series_key(l, key));
}

/* The key that it was put under; its text has a NUL where labels had a line feed. */
static void series_forget(struct telemetry *t, const struct series *s)
{
	char key[LABELS_MAX + 16];
	int n = snprintf(key, sizeof(key), "%u ", s->hidden);
	size_t len = (n > 0 ? (size_t)n : 0) + s->len;

	memcpy(key + len - s->len, s->text, s->len);
	for (size_t i = len - s->len; i < len; i++)
		if (key[i] == '\0')
			key[i] = '\n';
	(void)map_del(t->by_labels, key, len);
}

/* Given back, and nothing has been counted since. */
static bool series_is_free(const struct series *s)
{
	if (!s->shown.is_given_back || atomic_load_explicit(&s->held, memory_order_relaxed) > 0 ||
	    atomic_load_explicit(&s->told, memory_order_relaxed) > 0)
		return false;
	for (size_t i = 0; i < METRICS; i++)
		if (series_counter(s, i) != s->shown.base[i])
			return false;
	return true;
}

/* Those among the chain are taken out; a scrape is kept away. */
static void series_sweep(struct telemetry *t)
{
	struct series *kept = NULL, *last = NULL;

	for (struct series *s = atomic_load_explicit(&t->all, memory_order_relaxed), *next; s;
	     s = next) {
		next = s->next;
		if (series_is_free(s)) {
			series_forget(t, s);
			free(s);
			t->count--;
			continue;
		}
		if (last)
			last->next = s;
		else
			kept = s;
		last = s;
	}
	if (last)
		last->next = NULL;
	atomic_store_explicit(&t->all, kept, memory_order_relaxed);
}

static void slot_clear(struct cache_slot *c)
{
	workload_unref(c->src);
	workload_unref(c->dst);
	service_unref(c->service);
	free(c->src_identity);
	free(c->dst_identity);
	memset(c, 0, sizeof(*c));
}

/* Free what a scrape has given back. While one runs, not now: the worker does not wait. */
static void series_make_room(struct telemetry *t)
{
	if (!atomic_load_explicit(&t->has_given_back, memory_order_relaxed) ||
	    pthread_mutex_trylock(&t->lock) != 0)
		return;
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		slot_clear(&t->cache[i]);
	series_sweep(t);
	atomic_store_explicit(&t->has_given_back, false, memory_order_relaxed);
	(void)pthread_mutex_unlock(&t->lock);
}

static struct series *series_new(struct telemetry *t, const struct labels *l)
{
	char key[LABELS_MAX + 16];
	struct series *s = calloc(1, sizeof(*s) + l->len + 1);
	char *at;

	if (!s)
		return NULL;
	s->hidden = hidden_of(l);
	s->len = l->len;
	at = memcpy(s->text, l->text, l->len + 1);
	for (size_t i = 0; i < METRICS; i++) {
		char *end = strchr(at, '\n');

		s->labels[i] = at;
		if (end) {
			*end = '\0';
			at = end + 1;
		}
	}
	if (map_put_str(t->by_labels, series_key(l, key), s) < 0) {
		free(s);
		return NULL;
	}
	s->next = atomic_load_explicit(&t->all, memory_order_relaxed);
	atomic_store_explicit(&t->all, s, memory_order_release);
	t->count++;
	return s;
}

/* series_fold() - what there is no room for: of these there are few. */
static struct series *series_fold(struct telemetry *t, const struct conn_info *info,
				  enum conn_flags flags)
{
	const struct conn_info nobody = {.direction = info->direction, .is_mtls = info->is_mtls};
	struct labels l;
	struct series *s;

	conn_metrics_add(&t->folded, 1);
	labels_make(&l, &nobody, flags);
	s = series_known(t, &l);
	if (!s)
		s = series_new(t, &l);
	return s ? s : t->last_resort;
}

static struct series *series_get(struct telemetry *t, const struct conn_info *info,
				 enum conn_flags flags, bool *ret_is_folded)
{
	struct labels l;
	struct series *s = NULL;

	labels_make(&l, info, flags);
	if (!l.is_cut)
		s = series_known(t, &l);
	if (!s && t->count >= SERIES_MAX)
		series_make_room(t);
	if (!s && !l.is_cut && t->count < SERIES_MAX)
		s = series_new(t, &l);
	*ret_is_folded = !s;
	return s ? s : series_fold(t, info, flags);
}

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && streq(a, b));
}

static void slot_fill(struct cache_slot *c, const struct conn_info *info, uint32_t kind,
		      struct series *s)
{
	slot_clear(c);
	c->src_identity = info->src_identity ? strdup(info->src_identity) : NULL;
	c->dst_identity = info->dst_identity ? strdup(info->dst_identity) : NULL;
	if ((info->src_identity && !c->src_identity) || (info->dst_identity && !c->dst_identity)) {
		slot_clear(c);
		return;
	}
	/* counting is the one thing that is done to an otherwise constant object */
	c->src = info->src_workload ? workload_ref((struct workload *)info->src_workload) : NULL;
	c->dst = info->dst_workload ? workload_ref((struct workload *)info->dst_workload) : NULL;
	c->service = info->service ? service_ref((struct service *)info->service) : NULL;
	c->kind = kind;
	c->series = s;
}

static struct series *series_find(struct telemetry *t, const struct conn_info *info,
				  enum conn_flags flags)
{
	uint32_t kind = (uint32_t)info->direction | (info->is_mtls ? 2u : 0) | (uint32_t)flags << 2;
	uint64_t mix = ((uintptr_t)info->src_workload * 0x9e3779b97f4a7c15u) ^
		       ((uintptr_t)info->dst_workload * 0xc2b2ae3d27d4eb4fu) ^
		       ((uintptr_t)info->service * 0x165667b19e3779f9u) ^
		       (kind * 0x27d4eb2f165667c5u);
	struct cache_slot *c = &t->cache[(mix >> 40) & (CACHE_SLOTS - 1)];
	const struct signal_rules *rules = conn_info_rules(info);
	bool is_kept = !rules || !rules->has_conn_tags, is_folded;
	struct series *s;

	if (is_kept && c->series && c->src == info->src_workload && c->dst == info->dst_workload &&
	    c->service == info->service && c->kind == kind &&
	    is_same_text(c->src_identity, info->src_identity) &&
	    is_same_text(c->dst_identity, info->dst_identity))
		return c->series;
	s = series_get(t, info, flags, &is_folded);
	if (!is_folded && is_kept)
		slot_fill(c, info, kind, s);
	return s;
}

int telemetry_new(struct telemetry **ret)
{
	static const struct conn_info nothing = {.direction = CONN_INBOUND};
	_cleanup_(telemetry_freep) struct telemetry *t = calloc(1, sizeof(*t));
	struct labels l;
	int r;

	if (!t)
		return -ENOMEM;
	(void)pthread_mutex_init(&t->lock, NULL); /* with the default attributes it does not fail */
	r = map_new(&t->by_labels);
	if (r < 0)
		return r;
	r = history_new(&t->history);
	if (r < 0)
		return r;
	labels_make(&l, &nothing, CONN_OK);
	t->last_resort = series_new(t, &l);
	if (!t->last_resort)
		return -ENOMEM;
	t->last_resort->held = 1;
	*ret = TAKE_PTR(t);
	return 0;
}

struct telemetry *telemetry_free(struct telemetry *t)
{
	if (!t)
		return NULL;
	for (size_t i = 0; i < CACHE_SLOTS; i++)
		slot_clear(&t->cache[i]);
	for (struct series *s = atomic_load(&t->all), *next; s; s = next) {
		next = s->next;
		free(s);
	}
	map_free(t->by_labels);
	t->history = history_free(t->history);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

static uint64_t now_of(const struct conn_info *info)
{
	return info->now_us ? info->now_us : now_monotonic_us();
}

/* The worker's own alone; a scrape reads it. What was counted before is seen by who sees it go. */
static void count_change(atomic_uint *count, unsigned int to)
{
	atomic_store_explicit(count, to, memory_order_release);
}

struct conn_metrics *telemetry_conn_open(struct telemetry *t, const struct conn_info *info)
{
	struct series *s = series_find(t, info, CONN_OK);

	conn_metrics_add(&s->m.opened, 1);
	count_change(&s->held, atomic_load_explicit(&s->held, memory_order_relaxed) + 1);
	access_log_opened(info);
	return &s->m;
}

struct conn_metrics *telemetry_told_metrics(struct telemetry *t, const struct conn_info *info)
{
	return &series_find(t, info, CONN_OK)->m;
}

void telemetry_told_opened(struct telemetry *t, const struct conn_info *info, uint64_t n)
{
	struct series *s = series_find(t, info, CONN_OK);

	conn_metrics_add(&s->m.opened, n);
	count_change(&s->told,
		     atomic_load_explicit(&s->told, memory_order_relaxed) + (unsigned int)n);
}

static void told_closed(struct telemetry *t, const struct conn_info *info, enum conn_flags flags,
			uint64_t n)
{
	unsigned int open;
	struct series *s;

	conn_metrics_add(&series_find(t, info, flags)->m.closed, n);
	/* an end may be told under other labels than the beginning: its pod has been labelled */
	s = series_find(t, info, CONN_OK);
	open = atomic_load_explicit(&s->told, memory_order_relaxed);
	count_change(&s->told, open > n ? open - (unsigned int)n : 0);
}

void telemetry_told_closed(struct telemetry *t, const struct conn_info *info, uint64_t n)
{
	told_closed(t, info, CONN_OK, n);
}

void telemetry_told_open(struct telemetry *t, const struct conn_info *info)
{
	telemetry_told_opened(t, info, 1);
	access_log_opened(info);
}

void telemetry_told_close(struct telemetry *t, const struct conn_info *info, enum conn_flags flags,
			  const char *error)
{
	told_closed(t, info, flags, 1);
	access_log_complete(t->history, info, &(struct conn_end){flags, error, now_of(info), true},
			    NULL);
}

void telemetry_conn_close(struct telemetry *t, struct conn_metrics *m, const struct conn_info *info,
			  enum conn_flags flags, const char *error)
{
	struct series *s = container_of(m, struct series, m);

	if (flags != CONN_OK)
		m = &series_find(t, info, flags)->m;
	conn_metrics_add(&m->closed, 1);
	count_change(&s->held, atomic_load_explicit(&s->held, memory_order_relaxed) - 1);
	access_log_complete(t->history, info, &(struct conn_end){flags, error, now_of(info), true},
			    NULL);
}

void telemetry_conns_failed(struct telemetry *t, const struct conn_info *info,
			    enum conn_flags flags, uint64_t n)
{
	struct conn_metrics *m = &series_find(t, info, flags)->m;

	conn_metrics_add(&t->failed[info->direction][flags], n);
	/* before the other is looked for: what has been counted in is not given back meanwhile */
	conn_metrics_add(&m->closed, n);
	conn_metrics_add(&m->failed, n);
	conn_metrics_add(&series_find(t, info, CONN_OK)->m.opened, n);
}

void telemetry_conn_failed(struct telemetry *t, const struct conn_info *info, enum conn_flags flags,
			   const char *error)
{
	telemetry_conns_failed(t, info, flags, 1);
	access_log_complete(t->history, info, &(struct conn_end){flags, error, now_of(info), false},
			    NULL);
}

void telemetry_conn_early(struct telemetry *t, const struct conn_info *info, enum conn_flags flags,
			  const char *error)
{
	conn_metrics_add(&t->failed[info->direction][flags], 1);
	conn_metrics_add(&series_find(t, info, flags)->m.failed, 1);
	access_log_failed(t->history, info, &(struct conn_end){flags, error, now_of(info), false});
}

/* "explicitly denied by: ns/name" in Istio's words */
const char *telemetry_denied_text(const char *policy, const char *reason,
				  char into[TELEMETRY_TEXT_MAX])
{
	(void)snprintf(into, TELEMETRY_TEXT_MAX,
		       "connection closed due to policy rejection: %s%s%s", reason,
		       !*policy                             ? ""
		       : streq(reason, "explicitly denied") ? " by: "
							    : ": ",
		       policy);
	return into;
}

void telemetry_conn_denied(struct telemetry *t, const struct conn_info *info, const char *policy,
			   const char *reason)
{
	char error[TELEMETRY_TEXT_MAX];

	telemetry_conns_failed(t, info, CONN_DENY, 1);
	(void)telemetry_denied_text(policy, reason, error);
	access_log_complete(t->history, info,
			    &(struct conn_end){CONN_DENY, error, now_of(info), false},
			    *policy ? policy : NULL);
}

struct history *telemetry_history(const struct telemetry *t)
{
	return t->history;
}

void telemetry_count_socket(struct telemetry *t, enum conn_direction direction, int by)
{
	atomic_store_explicit(&t->sockets[direction],
			      atomic_load_explicit(&t->sockets[direction], memory_order_relaxed) +
				      by,
			      memory_order_relaxed);
}

void telemetry_crl_rejected(struct telemetry *t, enum conn_direction direction)
{
	conn_metrics_add(&t->crl_rejected[direction], 1);
}
