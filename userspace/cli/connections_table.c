/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "connections.h"
#include "json.h"
#include "match.h"
#include "table.h"
#include "term.h"

#define NAME_MAX_LEN 512

/* One pod of the answer, while its connections are read. */
struct reader {
	const struct connections_filter *filter;
	const json_t *before;
	json_t *now, *records;
	const char *node, *uid;
	const json_t *info; /* of the pod */
	json_int_t now_us;
};

static double number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static bool is_wanted(const struct reader *r, const json_t *c, const char *direction)
{
	const struct connections_filter *f = r->filter;
	const char *namespace_ = json_text(r->info, "namespace", "");

	return (!f->namespace_ || streq(f->namespace_, namespace_)) &&
	       (!f->pod || match_pod(f->pod, namespace_, json_text(r->info, "name", ""))) &&
	       (!f->service || match_service(f->service, json_text(c, "service", ""))) &&
	       (!f->direction || streq(f->direction, direction));
}

/* set_rates() - against what the same connection had moved the last time. A new one moved all of it
 * since. */
static int set_rates(const struct reader *r, json_t *record, const char *key)
{
	const json_t *old = json_object_get(r->before, key);
	double sent = number(record, "bytesSent"), received = number(record, "bytesReceived");
	double seconds = number(record, "ageSeconds");
	double old_sent = 0, old_received = 0;

	if (old) {
		seconds = (double)(r->now_us - json_integer_value(json_array_get(old, 0))) / 1e6;
		old_sent = json_number_value(json_array_get(old, 1));
		old_received = json_number_value(json_array_get(old, 2));
	}
	if (seconds < 1e-3)
		seconds = 1e-3;
	if (json_object_set_new(record, "sentPerSecond", json_real((sent - old_sent) / seconds)) <
		    0 ||
	    json_object_set_new(record, "receivedPerSecond",
				json_real((received - old_received) / seconds)) < 0)
		return -ENOMEM;
	return json_object_set_new(r->now, key, json_pack("[I, f, f]", r->now_us, sent, received)) <
			       0
		       ? -ENOMEM
		       : 0;
}

static int read_one(struct reader *r, const json_t *c, const char *direction)
{
	bool is_inbound = streq(direction, "inbound");
	json_int_t opened = json_number(c, "openedUs");
	_cleanup_(freep) char *key = NULL;
	json_t *record;
	int e;

	if (!is_wanted(r, c, direction))
		return 0;
	key = str_format("%s|%s|%s|%s|%s|%lld", r->node, r->uid, direction, json_text(c, "src", ""),
			 json_text(c, "originalDst", ""), (long long)opened);
	record = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, "
		"s:s, s:b, s:b, s:f, s:I, s:I}",
		"node", r->node, "namespace", json_text(r->info, "namespace", ""), "pod",
		json_text(r->info, "name", r->uid), "direction", direction, "peer",
		json_text(c, "peerName", ""), "peerNamespace", json_text(c, "peerNamespace", ""),
		"peerIdentity", json_text(c, "peerIdentity", ""), "service",
		json_text(c, "service", ""), "src", json_text(c, "src", ""), "dst",
		json_text(c, "actualDst", ""), "originalDst", json_text(c, "originalDst", ""),
		"protocol", json_text(c, "protocol", ""), "uid", r->uid, "clientIdentity",
		json_text(c, "clientIdentity", ""), "target", json_text(c, "target", ""), "peerUid",
		json_text(c, "peerUid", ""), "peerNode", json_text(c, "peerNode", ""),
		"peerIsEnrolled", json_is_true(json_object_get(c, "peerIsEnrolled")), "open",
		json_is_true(json_object_get(c, "open")), "ageSeconds",
		(double)(r->now_us - opened) / 1e6, "bytesSent",
		json_number(c, is_inbound ? "bytesToClient" : "bytesToServer"), "bytesReceived",
		json_number(c, is_inbound ? "bytesToServer" : "bytesToClient"));
	if (!key || !record)
		return json_decref(record), -ENOMEM;
	e = set_rates(r, record, key);
	return json_array_append_new(r->records, record) < 0 ? -ENOMEM : e;
}

static int read_pod(struct reader *r, const json_t *state)
{
	static const char *const directions[] = {"outbound", "inbound"};
	const json_t *all = json_object_get(state, "connections");
	const json_t *c;
	size_t i;

	for (size_t d = 0; d < ARRAY_SIZE(directions); d++)
		json_array_foreach (json_object_get(all, directions[d]), i, c) {
			int e = read_one(r, c, directions[d]);

			if (e < 0)
				return e;
		}
	return 0;
}

int connections_read(const json_t *answer, const struct connections_filter *f, const json_t *before,
		     json_t *now, json_t *records)
{
	struct reader r = {.filter = f,
			   .before = before,
			   .now = now,
			   .records = records,
			   .node = json_text(answer, "node", ""),
			   .now_us = json_number(answer, "nowUs")};
	const json_t *state;

	json_object_foreach ((json_t *)json_object_get(answer, "workloadState"), r.uid, state) {
		int e;

		r.info = json_object_get(state, "info");
		e = read_pod(&r, state);
		if (e < 0)
			return e;
	}
	return 0;
}

/* Groups. */

static void add_number(json_t *o, const char *key, const json_t *from)
{
	const json_t *v = json_object_get(from, key);

	if (json_is_integer(v))
		(void)json_object_set_new(
			o, key, json_integer(json_number(o, key) + json_integer_value(v)));
	else
		(void)json_object_set_new(o, key, json_real(number(o, key) + number(from, key)));
}

json_t *connections_group(const json_t *records, const char *by)
{
	static const char *const sums[] = {"bytesSent", "bytesReceived", "sentPerSecond",
					   "receivedPerSecond"};
	_cleanup_(json_decrefp) json_t *groups = json_object();
	bool is_pod = streq(by, "pod");
	json_t *list = json_array();
	const json_t *c;
	const char *key;
	json_t *group;
	size_t i;

	json_array_foreach (records, i, c) {
		char name[NAME_MAX_LEN];

		(void)snprintf(name, sizeof(name), "%s%s%s",
			       is_pod ? json_text(c, "namespace", "") : "", is_pod ? "/" : "",
			       json_text(c, is_pod ? "pod" : "service", ""));
		group = json_object_get(groups, name);
		if (!group) {
			group = json_pack("{s:s, s:i}", by, name, "connections", 0);
			(void)json_object_set_new(groups, name, group);
		}
		(void)json_object_set_new(group, "connections",
					  json_integer(json_number(group, "connections") + 1));
		for (size_t k = 0; k < ARRAY_SIZE(sums); k++)
			add_number(group, sums[k], c);
	}
	json_object_foreach (groups, key, group)
		(void)json_array_append(list, group);
	return list;
}

/* Order. */

static int compare_numbers(double a, double b)
{
	return (a < b) - (a > b); /* the greatest first */
}

static int compare_text(const json_t *a, const json_t *b, const char *key)
{
	return strcmp(json_text(a, key, ""), json_text(b, key, ""));
}

static int compare_names(const json_t *a, const json_t *b)
{
	static const char *const keys[] = {"namespace", "pod", "service", "direction", "src"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		int r = compare_text(a, b, keys[i]);

		if (r)
			return r;
	}
	return 0;
}

static double sum(const json_t *o, const char *a, const char *b)
{
	return number(o, a) + number(o, b);
}

static int compare(const void *x, const void *y, void *arg)
{
	const json_t *a = *(json_t *const *)x, *b = *(json_t *const *)y;
	const char *key = arg;
	int r = 0;

	if (streq(key, "rate"))
		r = compare_numbers(sum(a, "sentPerSecond", "receivedPerSecond"),
				    sum(b, "sentPerSecond", "receivedPerSecond"));
	else if (streq(key, "bytes"))
		r = compare_numbers(sum(a, "bytesSent", "bytesReceived"),
				    sum(b, "bytesSent", "bytesReceived"));
	else if (streq(key, "sent"))
		r = compare_numbers(number(a, "bytesSent"), number(b, "bytesSent"));
	else if (streq(key, "received"))
		r = compare_numbers(number(a, "bytesReceived"), number(b, "bytesReceived"));
	else if (streq(key, "age"))
		r = compare_numbers(number(a, "ageSeconds"), number(b, "ageSeconds"));
	else if (streq(key, "peer"))
		r = compare_text(a, b, "peer");
	return r ? r : compare_names(a, b);
}

int connections_sort(json_t *records, const char *key)
{
	static const char *const keys[] = {"rate", "bytes", "sent", "received",
					   "age",  "pod",   "peer"};
	size_t n = json_array_size(records), i;
	_cleanup_(freep) json_t **list = calloc(n + 1, sizeof(json_t *));

	for (i = 0; i < ARRAY_SIZE(keys) && !streq(key, keys[i]); i++)
		;
	if (i == ARRAY_SIZE(keys))
		return -EINVAL;
	if (!list)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		list[i] = json_incref(json_array_get(records, i));
	qsort_r(list, n, sizeof(json_t *), compare, (void *)(uintptr_t)key);
	for (i = 0; i < n; i++)
		(void)json_array_set_new(records, i, list[i]);
	return 0;
}

/* Tables. */

/* How much and how fast: the last four columns. */
struct traffic {
	char text[4][TERM_NUMBER];
};

static void traffic_format(const json_t *o, struct traffic *ret)
{
	static const char *const keys[] = {"bytesSent", "bytesReceived", "sentPerSecond",
					   "receivedPerSecond"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		(void)term_bytes(number(o, keys[i]), ret->text[i]);
}

static int add_connection(struct table *t, const json_t *c)
{
	const char *service = strchr(json_text(c, "service", ""), '/');
	bool is_inbound = streq(json_text(c, "direction", ""), "inbound");
	const char *address = json_text(c, is_inbound ? "src" : "originalDst", "");
	char pod[NAME_MAX_LEN], peer[NAME_MAX_LEN], age[TERM_NUMBER];
	const char *name = json_text(c, "peer", "");
	struct traffic traffic;
	const char *cells[] = {pod,
			       is_inbound ? "in" : "out",
			       peer,
			       service ? service + 1 : "-",
			       json_text(c, "protocol", ""),
			       term_age(number(c, "ageSeconds"), age),
			       traffic.text[0],
			       traffic.text[1],
			       traffic.text[2],
			       traffic.text[3]};

	traffic_format(c, &traffic);
	(void)snprintf(pod, sizeof(pod), "%s/%s", json_text(c, "namespace", ""),
		       json_text(c, "pod", ""));
	if (*name)
		(void)snprintf(peer, sizeof(peer), "%s/%s", json_text(c, "peerNamespace", ""),
			       name);
	else
		(void)snprintf(peer, sizeof(peer), "%s", address);
	return table_row(t, cells);
}

static int add_group(struct table *t, const json_t *g, const char *by)
{
	const char *name = json_text(g, by, "");
	struct traffic traffic;
	char count[TERM_NUMBER];
	const char *cells[] = {*name ? name : "-", count,           traffic.text[0],
			       traffic.text[1],    traffic.text[2], traffic.text[3]};

	traffic_format(g, &traffic);
	(void)snprintf(count, sizeof(count), "%lld", (long long)json_number(g, "connections"));
	return table_row(t, cells);
}

int connections_print(const json_t *records, const char *by)
{
	static const char *const all[] = {"POD",  "DIR",  "PEER",   "SERVICE", "VIA", "AGE",
					  "SENT", "RECV", "SENT/S", "RECV/S",  NULL};
	static const char *const pods[] = {"POD",    "CONNECTIONS", "SENT", "RECV",
					   "SENT/S", "RECV/S",      NULL};
	static const char *const services[] = {"SERVICE", "CONNECTIONS", "SENT", "RECV",
					       "SENT/S",  "RECV/S",      NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	bool is_all = streq(by, "connection");
	const json_t *c;
	size_t i;

	if (table_new(is_all ? all : streq(by, "pod") ? pods : services, &t) < 0)
		return -ENOMEM;
	json_array_foreach (records, i, c) {
		if ((is_all ? add_connection(t, c) : add_group(t, c, by)) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}
