/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/access_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "net/addr.h"
#include "ztunnel/history.h"
#include "ztunnel/signal_rules.h"
#include "ztunnel/signal_values.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"

#define ACCESS_TARGET   "access"
#define ACCESS_LINE_MAX 3072

static atomic_bool is_default = true;

struct line {
	char *at;
	size_t size;
	size_t len;
};

static void put(struct line *l, const char *fmt, ...) _printf_(2, 3);
static void put(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->at + l->len, l->size - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len = MIN(l->len + (size_t)n, l->size - 1);
}

/* key="value", quoted; what would end the quotes is escaped. Left out when there is no value. */
static void put_text(struct line *l, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	put(l, " %s=\"", key);
	for (const char *s = value; *s; s++)
		put(l, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	put(l, "\"");
}

static void put_addr(struct line *l, const char *key, const struct cv_sockaddr *sa)
{
	char text[CV_SOCKADDR_STRLEN];

	put(l, " %s=%s", key, cv_sockaddr_format(sa, text));
}

static bool is_wanted(const struct conn_info *info, enum log_level level)
{
	const struct signal_rules *rules = conn_info_rules(info);
	enum signal_switch is_on = rules ? rules->access_log : SIGNAL_INHERIT;

	if (is_on == SIGNAL_OFF ||
	    (is_on == SIGNAL_INHERIT && !atomic_load_explicit(&is_default, memory_order_relaxed)))
		return false;
	return log_is_on(level, ACCESS_TARGET);
}

/* The filter is asked when it is over, and last: that costs most. */
static bool is_end_wanted(const struct conn_info *info, const struct conn_end *end,
			  enum log_level level)
{
	const struct signal_rules *rules = conn_info_rules(info);

	return is_wanted(info, level) &&
	       (!rules || !rules->log_filter || signal_passes(rules->log_filter, info, end));
}

static void put_ends(struct line *l, const struct conn_info *info)
{
	const struct workload *src = info->src_workload;
	const struct workload *dst = info->dst_workload;

	put_addr(l, "src.addr", &info->src);
	put_text(l, "src.workload", src ? src->name : NULL);
	put_text(l, "src.namespace", src ? src->app->namespace_ : NULL);
	put_text(l, "src.identity", info->is_mtls ? info->src_identity : NULL);
	put_text(l, "src.cluster", src ? src->app->cluster : NULL);
	put_addr(l, "dst.addr", &info->dst);
	if (info->has_hbone)
		put_addr(l, "dst.hbone_addr", &info->hbone_addr);
	put_text(l, "dst.service", info->service ? info->service->def->hostname : NULL);
	put_text(l, "dst.workload", dst ? dst->name : NULL);
	put_text(l, "dst.namespace", dst ? dst->app->namespace_ : NULL);
	put_text(l, "dst.identity", info->is_mtls ? info->dst_identity : NULL);
	put_text(l, "dst.cluster", dst ? dst->app->cluster : NULL);
	put_text(l, "direction", info->direction == CONN_INBOUND ? "inbound" : "outbound");
}

size_t access_log_format(const struct conn_info *info, uint64_t now_us, const char *error,
			 char *into, size_t size)
{
	struct line l = {.at = into, .size = size};
	bool is_in = info->direction == CONN_INBOUND;
	uint64_t sent = is_in ? info->bytes_to_client : info->bytes_to_server;
	uint64_t received = is_in ? info->bytes_to_server : info->bytes_to_client;
	uint64_t took_us = now_us > info->opened_us ? now_us - info->opened_us : 0;

	into[0] = '\0';
	put_ends(&l, info);
	put(&l, " bytes_sent=%" PRIu64 " bytes_recv=%" PRIu64 " duration=\"%" PRIu64 "ms\"", sent,
	    received, took_us / 1000);
	put_text(&l, "error", error);
	return l.len;
}

void access_log_set_default(bool is_on)
{
	atomic_store_explicit(&is_default, is_on, memory_order_relaxed);
}

void access_log_complete(struct history *h, const struct conn_info *info,
			 const struct conn_end *end, const char *policy)
{
	enum log_level level = end->error ? LOG_ERROR : LOG_INFO;
	char text[ACCESS_LINE_MAX];
	struct line l = {.at = text, .size = sizeof(text)};

	history_add(h, info, end, policy);
	if (!is_end_wanted(info, end, level))
		return;
	l.len = access_log_format(info, end->now_us, end->error, text, sizeof(text));
	put_text(&l, "policy", policy);
	log_write(level, ACCESS_TARGET, "connection complete%s", text);
}

void access_log_failed(struct history *h, const struct conn_info *info, const struct conn_end *end)
{
	char text[ACCESS_LINE_MAX];
	struct line l = {.at = text, .size = sizeof(text)};

	history_add(h, info, end, NULL);
	if (!is_end_wanted(info, end, LOG_WARN))
		return;
	text[0] = '\0';
	put_ends(&l, info);
	put_text(&l, "error", end->error);
	log_warn(ACCESS_TARGET, "connection failed%s", text);
}

void access_log_note(const struct conn_info *info, const char *what, const char *policy)
{
	char text[ACCESS_LINE_MAX];
	struct line l = {.at = text, .size = sizeof(text)};

	if (!is_wanted(info, LOG_INFO))
		return;
	text[0] = '\0';
	put_ends(&l, info);
	put_text(&l, "policy", policy);
	log_info(ACCESS_TARGET, "%s%s", what, text);
}

void access_log_opened(const struct conn_info *info)
{
	char text[ACCESS_LINE_MAX];
	struct line l = {.at = text, .size = sizeof(text)};

	if (!is_wanted(info, LOG_DEBUG))
		return;
	text[0] = '\0';
	put_ends(&l, info);
	log_debug(ACCESS_TARGET, "connection opened%s", text);
}
