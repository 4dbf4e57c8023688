/* SPDX-License-Identifier: Apache-2.0 */
/* telemetry - the sums over the workers, for a scrape. */
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/map.h"
#include "ztunnel/signal_rules.h"
#include "ztunnel/telemetry_internal.h"

/* What the workers have counted under one set of labels. */
struct sums {
	const char *labels;
	uint64_t values[METRICS];
	uint64_t used_us; /* the last of all series that are in it */
};

static const struct {
	const char *name;
	const char *help;
	enum signal_metric bit;
} families[METRICS] = {
	{"istio_tcp_connections_opened", "The total number of TCP connections opened",
	 SIGNAL_OPENED},
	{"istio_tcp_connections_closed", "The total number of TCP connections closed",
	 SIGNAL_CLOSED},
	{"istio_tcp_sent_bytes",
	 "The size of total bytes sent during response in case of a TCP connection", SIGNAL_SENT},
	{"istio_tcp_received_bytes",
	 "The size of total bytes received during request in case of a TCP connection",
	 SIGNAL_RECEIVED},
	{"istio_tcp_connections_failed",
	 "The total number of TCP connections that failed to establish (unstable)", SIGNAL_FAILED},
};

/* As the families. */
const size_t series_offsets[METRICS] = {
	offsetof(struct conn_metrics, opened), offsetof(struct conn_metrics, closed),
	offsetof(struct conn_metrics, sent),   offsetof(struct conn_metrics, received),
	offsetof(struct conn_metrics, failed),
};

/* Return: NULL when out of memory. */
static struct sums *sums_of(struct map *all, const char *labels)
{
	struct sums *s = map_get_str(all, labels);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->labels = labels;
	if (map_put_str(all, labels, s) < 0) {
		free(s);
		return NULL;
	}
	return s;
}

/* What one series is at the time of a scrape. */
static bool series_is_used(struct series *s)
{
	/* first these: who sees the last one go sees all that it has counted */
	bool is_used = atomic_load_explicit(&s->held, memory_order_acquire) > 0 ||
		       atomic_load_explicit(&s->told, memory_order_acquire) > 0;

	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		uint64_t n = series_counter(s, i);

		is_used = is_used || n != s->shown.last[i];
		s->shown.last[i] = n;
	}
	return is_used;
}

static int sums_add(struct map *all, struct series *s, uint64_t now_us)
{
	bool is_used = series_is_used(s) || s->shown.used_us == 0;
	bool is_in_one = s->labels[METRICS - 1] == s->labels[0];
	struct sums *into = NULL;

	if (is_used) {
		s->shown.used_us = now_us;
		s->shown.is_given_back = false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		if (i == 0 || s->labels[i] != s->labels[i - 1])
			into = sums_of(all, s->labels[i]);
		if (!into)
			return -ENOMEM;
		/* one that is in several sums is not given back, nor what shares a sum with it */
		into->used_us = MAX(into->used_us, is_in_one ? s->shown.used_us : now_us);
		s->shown.sums = into;
		if (s->hidden & families[i].bit)
			continue;
		into->values[i] += s->shown.last[i] - s->shown.base[i];
	}
	return 0;
}

static int sums_collect(struct map *all, struct telemetry *t, uint64_t now_us)
{
	struct series *s = atomic_load_explicit(&t->all, memory_order_acquire);
	int r = 0;

	for (; s && r == 0; s = s->next)
		r = sums_add(all, s, now_us);
	return r;
}

/* What the scrape at hand shows for the last time. Those that came since it began have no sum. */
static void idle_give_back(struct telemetry *t, uint64_t now_us)
{
	struct series *s = atomic_load_explicit(&t->all, memory_order_acquire);

	for (; s; s = s->next) {
		const struct sums *sums = s->shown.sums;

		s->shown.sums = NULL;
		if (!sums || now_us - sums->used_us < TELEMETRY_IDLE_US)
			continue;
		memcpy(s->shown.base, s->shown.last, sizeof(s->shown.base));
		s->shown.is_given_back = true;
		atomic_store_explicit(&t->has_given_back, true, memory_order_relaxed);
	}
}

static bool is_crowded(struct telemetry *const *workers, size_t workers_count)
{
	for (size_t i = 0; i < workers_count; i++)
		if (atomic_load_explicit(&workers[i]->count, memory_order_relaxed) >=
		    TELEMETRY_CROWDED)
			return true;
	return false;
}

static int sums_write(const struct map *all, size_t family, struct buf *into)
{
	const char *name = families[family].name;
	int r = buf_printf(into, "# HELP %s %s.\n# TYPE %s counter\n", name, families[family].help,
			   name);

	map_for_each (all, it) {
		const struct sums *s = it.value;

		if (s->values[family] == 0)
			continue;
		if (r == 0)
			r = buf_printf(into, "%s_total{%s} %" PRIu64 "\n", name, s->labels,
				       s->values[family]);
	}
	return r;
}

static int sockets_write(struct telemetry *const *workers, size_t workers_count, struct buf *into)
{
	uint64_t folded = 0;
	int open[2] = {0};

	for (size_t i = 0; i < workers_count; i++) {
		folded += atomic_load_explicit(&workers[i]->folded, memory_order_relaxed);
		for (size_t d = 0; d < ARRAY_SIZE(open); d++)
			open[d] +=
				atomic_load_explicit(&workers[i]->sockets[d], memory_order_relaxed);
	}
	return buf_printf(into,
			  "# HELP istio_tcp_sockets_open The current number of open TCP sockets "
			  "(unstable).\n# TYPE istio_tcp_sockets_open gauge\n"
			  "istio_tcp_sockets_open{reporter=\"source\"} %d\n"
			  "istio_tcp_sockets_open{reporter=\"destination\"} %d\n"
			  "# HELP culvert_metrics_folded Connections that are counted without "
			  "their labels: there are too many sets of them.\n"
			  "# TYPE culvert_metrics_folded counter\n"
			  "culvert_metrics_folded_total %" PRIu64 "\n",
			  open[CONN_OUTBOUND], open[CONN_INBOUND], folded);
}

static const char *const reporters[] = {
	[CONN_INBOUND] = "destination",
	[CONN_OUTBOUND] = "source",
};

/* Neither a Telemetry resource nor idleness takes anything from these. */
static int failed_write(struct telemetry *const *workers, size_t workers_count, struct buf *into)
{
	int r = buf_append_str(into, "# HELP culvert_connections_failed Connections that failed to "
				     "establish, also where Telemetry resources hide them.\n"
				     "# TYPE culvert_connections_failed counter\n");

	for (size_t k = 0; k < 2 * CONN_FLAGS_MAX && r == 0; k++) {
		size_t d = k / CONN_FLAGS_MAX, flags = k % CONN_FLAGS_MAX;
		uint64_t n = 0;

		for (size_t i = 0; i < workers_count; i++)
			n += atomic_load_explicit(&workers[i]->failed[d][flags],
						  memory_order_relaxed);
		if (n > 0)
			r = buf_printf(into,
				       "culvert_connections_failed_total{reporter=\"%s\","
				       "response_flags=\"%s\"} %" PRIu64 "\n",
				       reporters[d], conn_flags_name((enum conn_flags)flags), n);
	}
	return r;
}

/* A sample for a direction in which it has happened, as Istio's ztunnel has it. */
static int crl_rejected_write(struct telemetry *const *workers, size_t workers_count,
			      struct buf *into)
{
	int r = buf_append_str(into, "# HELP istio_crl_policy_rejections The total number of "
				     "connections rejected due to CRL certificate revocation "
				     "(unstable).\n# TYPE istio_crl_policy_rejections counter\n");

	for (size_t d = 0; d < ARRAY_SIZE(reporters) && r == 0; d++) {
		uint64_t n = 0;

		for (size_t i = 0; i < workers_count; i++)
			n += atomic_load_explicit(&workers[i]->crl_rejected[d],
						  memory_order_relaxed);
		if (n > 0)
			r = buf_printf(into,
				       "istio_crl_policy_rejections_total{reporter=\"%s\"} %" PRIu64
				       "\n",
				       reporters[d], n);
	}
	return r;
}

static int all_write(struct telemetry *const *workers, size_t workers_count, uint64_t now_us,
		     struct buf *into)
{
	_cleanup_(map_freep) struct map *all = NULL;
	int r = map_new(&all);

	for (size_t i = 0; i < workers_count && r == 0; i++)
		r = sums_collect(all, workers[i], now_us);
	for (size_t i = 0; i < ARRAY_SIZE(families) && r == 0; i++)
		r = sums_write(all, i, into);
	if (r == 0 && is_crowded(workers, workers_count))
		for (size_t i = 0; i < workers_count; i++)
			idle_give_back(workers[i], now_us);
	if (all)
		map_for_each (all, it)
			free(it.value);
	return r;
}

int telemetry_write(struct telemetry *const *workers, size_t workers_count, uint64_t now_us,
		    struct buf *into)
{
	int r;

	for (size_t i = 0; i < workers_count; i++)
		(void)pthread_mutex_lock(&workers[i]->lock);
	r = all_write(workers, workers_count, now_us, into);
	for (size_t i = 0; i < workers_count; i++)
		(void)pthread_mutex_unlock(&workers[i]->lock);
	if (r == 0)
		r = sockets_write(workers, workers_count, into);
	if (r == 0)
		r = failed_write(workers, workers_count, into);
	if (r == 0)
		r = crl_rejected_write(workers, workers_count, into);
	return r;
}
