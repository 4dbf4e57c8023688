/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/history.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "net/addr.h"
#include "ztunnel/signal_values.h"
#include "ztunnel/state.h"
#include "ztunnel/telemetry.h"

#define TEXT_SIZE 768
#define CUT       ".."

/* In the order in which they are given room: without the first ones there is no sentence. */
enum text {
	TEXT_ERROR,
	TEXT_POLICY,
	TEXT_SRC_NAME,
	TEXT_SRC_NAMESPACE,
	TEXT_DST_NAME,
	TEXT_DST_NAMESPACE,
	TEXT_SERVICE,
	TEXT_SRC_IDENTITY,
	TEXT_DST_IDENTITY,
	TEXT_MAX,
};

static const char *const text_keys[TEXT_MAX] = {
	[TEXT_ERROR] = "error",
	[TEXT_POLICY] = "policy",
	[TEXT_SRC_NAME] = "srcName",
	[TEXT_SRC_NAMESPACE] = "srcNamespace",
	[TEXT_DST_NAME] = "dstName",
	[TEXT_DST_NAMESPACE] = "dstNamespace",
	[TEXT_SERVICE] = "service",
	[TEXT_SRC_IDENTITY] = "srcIdentity",
	[TEXT_DST_IDENTITY] = "dstIdentity",
};

struct record {
	uint64_t ended_us; /* CLOCK_REALTIME */
	uint64_t took_us;
	uint64_t bytes_to_server;
	uint64_t bytes_to_client;
	struct cv_sockaddr src;
	struct cv_sockaddr asked;
	struct cv_sockaddr dst;
	enum conn_direction direction;
	const char *path;
	const char *verdict;
	uint16_t at[TEXT_MAX]; /* in text */
	char text[TEXT_SIZE];  /* begins with "", which stands for what there is none of */
};

struct history {
	pthread_mutex_t lock; /* held for one record at a time */
	struct record *ring;  /* NULL before the first */
	uint64_t count;       /* ever added */
	uint64_t start_us;    /* CLOCK_REALTIME */
};

int history_new(struct history **ret)
{
	struct history *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	(void)pthread_mutex_init(&h->lock, NULL);
	h->start_us = now_realtime_us();
	*ret = h;
	return 0;
}

struct history *history_free(struct history *h)
{
	if (!h)
		return NULL;
	(void)pthread_mutex_destroy(&h->lock);
	free(h->ring);
	free(h);
	return NULL;
}

/* text_put() - each may have a third of what is left at most, so that one giant leaves room for the
 * others. As it came: what few read is cleaned when it is read. */
static void text_put(struct record *r, size_t *used, enum text which, const char *value)
{
	size_t len = value ? strlen(value) : 0, room = TEXT_SIZE - *used;
	size_t max = room / 3;
	const char *end;
	bool is_cut;

	r->at[which] = 0;
	if (len == 0 || max < sizeof(CUT))
		return;
	r->at[which] = (uint16_t)*used;
	is_cut = len >= max;
	len = is_cut ? max - sizeof(CUT) : len;
	memcpy(r->text + *used, value, len);
	*used += len;
	end = is_cut ? CUT : "";
	memcpy(r->text + *used, end, strlen(end) + 1);
	*used += strlen(end) + 1;
}

static const char *path_of(const struct conn_info *info)
{
	if (info->is_direct)
		return "direct";
	if (info->has_hbone)
		return "tunnel";
	if (info->direction == CONN_INBOUND || (info->is_plain && info->dst_workload))
		return "plaintext";
	return info->is_plain ? "passthrough" : "none";
}

static const char *verdict_of(const struct conn_end *end)
{
	if (!end->error)
		return "allowed";
	if (conn_flags_is_answer(end->flags))
		return end->was_open ? "cut" : "denied";
	return end->was_open ? "broken" : "failed";
}

static void fill_texts(struct record *r, const struct conn_info *info, const char *error,
		       const char *policy)
{
	const struct workload *src = info->src_workload, *dst = info->dst_workload;
	/* the receiving end can but guess what was dialled, which is good enough to count */
	const struct service *asked = info->direction == CONN_OUTBOUND ? info->service : NULL;
	const char *const values[TEXT_MAX] = {
		[TEXT_ERROR] = error,
		[TEXT_POLICY] = policy,
		[TEXT_SRC_NAME] = src ? src->name : NULL,
		[TEXT_SRC_NAMESPACE] = src ? src->app->namespace_ : NULL,
		[TEXT_DST_NAME] = dst ? dst->name : NULL,
		[TEXT_DST_NAMESPACE] = dst ? dst->app->namespace_ : NULL,
		[TEXT_SERVICE] = asked ? asked->def->key : NULL,
		[TEXT_SRC_IDENTITY] = info->is_mtls ? info->src_identity : NULL,
		[TEXT_DST_IDENTITY] = info->is_mtls ? info->dst_identity : NULL,
	};
	size_t used = 1;

	r->text[0] = '\0';
	for (int i = 0; i < TEXT_MAX; i++)
		text_put(r, &used, (enum text)i, values[i]);
}

void history_add(struct history *h, const struct conn_info *info, const struct conn_end *end,
		 const char *policy)
{
	struct record *r;

	(void)pthread_mutex_lock(&h->lock);
	if (!h->ring)
		h->ring = calloc(HISTORY_RECORDS, sizeof(*h->ring));
	if (h->ring) {
		r = &h->ring[h->count++ % HISTORY_RECORDS];
		r->ended_us = now_realtime_us();
		r->took_us = end->now_us > info->opened_us ? end->now_us - info->opened_us : 0;
		r->bytes_to_server = info->bytes_to_server;
		r->bytes_to_client = info->bytes_to_client;
		r->src = info->src;
		r->dst = info->has_hbone ? info->hbone_addr : info->dst;
		r->asked = info->asked.port ? info->asked : r->dst;
		r->direction = info->direction;
		r->path = path_of(info);
		r->verdict = verdict_of(end);
		fill_texts(r, info, end->error, policy);
	} else {
		h->start_us = now_realtime_us();
	}
	(void)pthread_mutex_unlock(&h->lock);
}

/* Peers have a hand in some of it, and a terminal will show it: nothing but ASCII. */
static const char *text_clean(char *text)
{
	for (char *at = text; *at; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	return text;
}

static int record_to_json(struct record *r, json_t *into)
{
	char src[CV_SOCKADDR_STRLEN], asked[CV_SOCKADDR_STRLEN], dst[CV_SOCKADDR_STRLEN];
	json_t *o = json_pack(
		"{s:I, s:f, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "endedUs",
		(json_int_t)r->ended_us, "tookSeconds", (double)r->took_us / 1e6, "direction",
		r->direction == CONN_INBOUND ? "inbound" : "outbound", "path", r->path, "verdict",
		r->verdict, "src", cv_sockaddr_format(&r->src, src), "asked",
		cv_sockaddr_format(&r->asked, asked), "dst", cv_sockaddr_format(&r->dst, dst),
		"bytesToServer", (json_int_t)r->bytes_to_server, "bytesToClient",
		(json_int_t)r->bytes_to_client);

	for (int i = 0; o && i < TEXT_MAX; i++) {
		const char *text = text_clean(r->text + r->at[i]);

		if (json_object_set_new(o, text_keys[i], json_string(text)) < 0) {
			json_decref(o);
			return -ENOMEM;
		}
	}
	return o && json_array_append_new(into, o) == 0 ? 0 : -ENOMEM;
}

/* history_get() - the @nth ever, if it is still there. */
static bool history_get(struct history *h, uint64_t nth, struct record *ret)
{
	bool is_there;

	(void)pthread_mutex_lock(&h->lock);
	is_there = nth < h->count && h->count - nth <= HISTORY_RECORDS;
	if (is_there)
		*ret = h->ring[nth % HISTORY_RECORDS];
	(void)pthread_mutex_unlock(&h->lock);
	return is_there;
}

int history_to_json(struct history *h, json_t *into, uint64_t *io_since_us)
{
	struct record r;
	uint64_t end, nth, since;
	int e = 0;

	(void)pthread_mutex_lock(&h->lock);
	end = h->count;
	since = h->start_us;
	(void)pthread_mutex_unlock(&h->lock);
	nth = end > HISTORY_RECORDS ? end - HISTORY_RECORDS : 0;
	for (bool is_cut = nth > 0; nth < end && e == 0; nth++) {
		if (!history_get(h, nth, &r)) {
			is_cut = true; /* overwritten meanwhile */
			continue;
		}
		if (is_cut)
			since = r.ended_us;
		is_cut = false;
		e = record_to_json(&r, into);
	}
	*io_since_us = MAX(*io_since_us, since);
	return e;
}
