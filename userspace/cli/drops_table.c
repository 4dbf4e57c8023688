/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "culvert/abi/reasons.h"
#include "drops.h"
#include "json.h"
#include "table.h"

/* Not Istio's of that name: Telemetry resources can switch that off, and rename its labels. */
#define FAILED_METRIC  "culvert_connections_failed_total{"
#define REPORTER_LABEL "reporter=\""
#define FLAGS_LABEL    "response_flags=\""
#define LABEL_MAX      64

struct reason {
	const char *name; /* of the enum: tells a drop from a path */
	const char *label;
	const char *meaning;
};

static const struct reason kernel_reasons[] = {
#define CV_REASON(name, label, sentence) {#name, label, sentence},
	CV_REASON_LIST(CV_REASON)
#undef CV_REASON
};

static const struct reason ztunnel_reasons[] = {
	{"", "DENY", "an authorization policy denied it"},
	{"", "CONNECT", "the peer or the application could not be reached, or nothing serves it"},
	{"", "TLS_FAILURE", "the TLS handshake failed"},
	{"", "H2_HANDSHAKE_FAILURE", "the tunnel could not be opened"},
	{"", "NETWORK_POLICY", "no answer from port 15008: a NetworkPolicy may block it"},
	{"", "IDENTITY_ERROR", "no certificate, or no data about the pod, in time"},
	{"", "CERT_REVOKED", "the peer's certificate is revoked"},
	{"", "TRUST_DOMAIN", "the peer's trust domain is not accepted any more"},
};

/* @direction: "" where the kernel did it. */
static void add(json_t *records, const char *node, const char *direction, const struct reason *r,
		json_int_t count)
{
	(void)json_array_append_new(records,
				    json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:s}", "node", node,
					      "where", *direction ? "ztunnel" : "kernel",
					      "direction", direction, "reason", r->label, "count",
					      count, "perSecond", 0.0, "meaning", r->meaning));
}

static const struct reason *find(const struct reason *list, size_t n, const char *label)
{
	for (size_t i = 0; i < n; i++)
		if (streq(list[i].label, label))
			return &list[i];
	return NULL;
}

/* is_drop() - a reason that this tool is too old to know is shown, too. */
static bool is_drop(const struct reason *r)
{
	static const char *const prefixes[] = {"DROP_", "GUARD_", "UPLINK_", "NAMESERVER_FULL"};

	for (size_t i = 0; r && i < ARRAY_SIZE(prefixes); i++)
		if (str_has_prefix(r->name, prefixes[i]))
			return true;
	return !r;
}

void drops_add_kernel(json_t *records, const char *node, const json_t *counters, bool is_all)
{
	const char *label;
	const json_t *v;

	json_object_foreach ((json_t *)counters, label, v) {
		const struct reason *r = find(kernel_reasons, ARRAY_SIZE(kernel_reasons), label);
		const struct reason unknown = {"", label, "(this culvert does not know it)"};

		if (json_integer_value(v) > 0 && (is_all || is_drop(r)))
			add(records, node, "", r ? r : &unknown, json_integer_value(v));
	}
}

/* label_of() - its value in one line of metrics; @label: with what stands before that. Return:
 * false when it has none. */
static bool label_of(const char *line, const char *end, const char *label, char value[LABEL_MAX])
{
	const char *at = memmem(line, (size_t)(end - line), label, strlen(label));
	size_t n;

	if (!at)
		return false;
	at += strlen(label);
	n = strcspn(at, "\"\n");
	if (n == 0 || n >= LABEL_MAX)
		return false;
	memcpy(value, at, n);
	value[n] = '\0';
	return true;
}

static void add_failed(json_t *records, const char *node, const char *line, const char *end)
{
	const char *value = memrchr(line, ' ', (size_t)(end - line));
	char flag[LABEL_MAX], reporter[LABEL_MAX];
	const struct reason unknown = {"", flag, "(this culvert does not know it)"}, *r;
	json_int_t count = value ? strtoll(value, NULL, 10) : 0;

	if (count <= 0 || !label_of(line, end, FLAGS_LABEL, flag) || streq(flag, "-") ||
	    !label_of(line, end, REPORTER_LABEL, reporter))
		return;
	r = find(ztunnel_reasons, ARRAY_SIZE(ztunnel_reasons), flag);
	add(records, node, streq(reporter, "source") ? "outbound" : "inbound", r ? r : &unknown,
	    count);
}

void drops_add_ztunnel(json_t *records, const char *node, const char *metrics)
{
	for (const char *line = metrics, *end; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		if (str_has_prefix(line, FAILED_METRIC))
			add_failed(records, node, line, end);
	}
}

static json_int_t count_before(const json_t *before, const json_t *record)
{
	static const char *const keys[] = {"node", "where", "direction", "reason"};
	const json_t *v;
	size_t i;

	json_array_foreach (before, i, v) {
		size_t k = 0;

		while (k < ARRAY_SIZE(keys) &&
		       streq(json_text(v, keys[k], ""), json_text(record, keys[k], "")))
			k++;
		if (k == ARRAY_SIZE(keys))
			return json_number(v, "count");
	}
	return 0;
}

void drops_set_rates(json_t *now, const json_t *before, double seconds)
{
	json_t *v;
	size_t i;

	if (!before || seconds <= 0)
		return;
	json_array_foreach (now, i, v) {
		json_int_t more = json_number(v, "count") - count_before(before, v);

		/* Counters of a daemon that was restarted begin anew. */
		(void)json_object_set_new(v, "perSecond",
					  json_real(more > 0 ? (double)more / seconds : 0));
	}
}

int drops_print(const json_t *records)
{
	static const char *const headers[] = {"NODE",  "WHERE", "DIR",     "REASON",
					      "COUNT", "PER S", "MEANING", NULL};
	_cleanup_(table_freep) struct table *t = NULL;
	const json_t *v;
	size_t i;

	if (table_new(headers, &t) < 0)
		return -ENOMEM;
	json_array_foreach (records, i, v) {
		const char *direction = json_text(v, "direction", "");
		char count[32], rate[32];
		const char *cells[] = {json_text(v, "node", ""),
				       json_text(v, "where", ""),
				       !*direction                    ? "-"
				       : streq(direction, "outbound") ? "out"
								      : "in",
				       json_text(v, "reason", ""),
				       count,
				       rate,
				       json_text(v, "meaning", "")};

		(void)snprintf(count, sizeof(count), "%lld", (long long)json_number(v, "count"));
		(void)snprintf(rate, sizeof(rate), "%.1f",
			       json_number_value(json_object_get(v, "perSecond")));
		if (table_row(t, cells) < 0)
			return -ENOMEM;
	}
	table_show(t);
	return 0;
}
