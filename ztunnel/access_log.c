/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/access_log.h"

#include <inttypes.h>
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

static void put_bytes(struct line *l, const char *p, size_t n)
{
	n = MIN(n, l->size - 1 - l->len);
	memcpy(l->at + l->len, p, n);
	l->len += n;
	l->at[l->len] = '\0';
}

static void put_string(struct line *l, const char *s)
{
	put_bytes(l, s, strlen(s));
}

static void put_key(struct line *l, const char *key)
{
	put_string(l, " ");
	put_string(l, key);
	put_string(l, "=");
}

/* key="value", quoted; what would end the quotes is escaped. Left out when there is no value.
 * Copied in pieces, not formatted: with a line per connection this is most of what a short one
 * costs in user space. */
static void put_text(struct line *l, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	put_key(l, key);
	put_string(l, "\"");
	for (;;) {
		size_t plain = strcspn(value, "\"\\");

		put_bytes(l, value, plain);
		value += plain;
		if (!*value)
			break;
		put_string(l, "\\");
		put_bytes(l, value++, 1);
	}
	put_string(l, "\"");
}

static void put_addr(struct line *l, const char *key, const struct cv_sockaddr *sa)
{
	char text[CV_SOCKADDR_STRLEN];

	put_key(l, key);
	put_string(l, cv_sockaddr_format(sa, text));
}

static void put_numbers(struct line *l, uint64_t sent, uint64_t received, uint64_t took_ms)
{
	char text[128];

	(void)snprintf(text, sizeof(text),
		       " bytes_sent=%" PRIu64 " bytes_recv=%" PRIu64 " duration=\"%" PRIu64 "ms\"",
		       sent, received, took_ms);
	put_string(l, text);
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
	put_numbers(&l, sent, received, took_us / 1000);
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

	if (h)
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
