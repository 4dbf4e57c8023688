/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel did with connections by itself: of the agent's /past. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "json.h"
#include "past.h"

/* What became of it, by the place where it was met. */
static const char *const fates[][2] = {
	{"connect", "was refused by the kernel before a packet was sent"},
	{"handshake", "was not vouched for by the kernel as it was set up"},
	{"link", "had a packet dropped by the kernel as it left the pod"},
	{"arrival", "was turned away by the kernel as it came into the pod"},
	{"entry", "had a packet dropped by the kernel as it came to the pod"},
	{"uplink", "was dropped by the kernel as it came into the node"},
};

static const char *fate_of(const json_t *c)
{
	const char *place = json_text(c, "place", "");

	if (streq(json_text(c, "verdict", ""), "passed"))
		return streq(json_text(c, "path", ""), "self")
			       ? "stayed inside the pod"
			       : "was let past the mesh by the kernel, whatever became of it then";
	for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
		if (streq(place, fates[i][0]))
			return fates[i][1];
	return "was stopped by the kernel in a place that is not known here";
}

/* often_of() - "; 7 times since ...", "" for one; caller frees. */
static char *often_of(const json_t *c)
{
	json_int_t count = json_number(c, "count"), one_in = json_number(c, "toldOneIn");
	char since[PAST_TIME];

	(void)past_time(json_number(c, "firstUs"), since);
	if (one_in > 1)
		return str_format(", %lld times or more since %s, of which one in %lld is told",
				  (count - 1) * one_in + 1, since, one_in);
	return count > 1 ? str_format(", %lld times since %s", count, since) : str_format("%s", "");
}

static char *sentence_of(const json_t *c)
{
	_cleanup_(freep) char *from = past_src(c), *to = past_dst(c), *often = often_of(c);

	if (!from || !to || !often)
		return NULL;
	return str_format("From %s to %s, it %s: %s%s.", from, to, fate_of(c),
			  json_text(c, "error", ""), often);
}

/* What such a connection has not, so that every record has the keys of every other. */
static int fill(json_t *record)
{
	_cleanup_(json_decrefp) json_t *none =
		json_pack("{s:f, s:s, s:s, s:s, s:s, s:i, s:i}", "tookSeconds", 0.0, "policy", "",
			  "srcIdentity", "", "dstIdentity", "", "service", "", "bytesToServer", 0,
			  "bytesToClient", 0);

	return none ? json_object_update_missing(record, none) : -1;
}

static json_t *record_of(const json_t *c, const char *node)
{
	_cleanup_(freep) char *sentence = sentence_of(c);
	char ended[PAST_TIME], first[PAST_TIME];
	json_t *record;

	if (!sentence)
		return NULL;
	record = json_pack("{s:s, s:s, s:s, s:s}", "node", node, "ended",
			   past_time(json_number(c, "endedUs"), ended), "first",
			   past_time(json_number(c, "firstUs"), first), "sentence", sentence);
	if (record && json_object_update(record, (json_t *)(uintptr_t)c) == 0 && fill(record) == 0)
		return record;
	json_decref(record);
	return NULL;
}

/* node_of() - its entry; a ztunnel that did not answer has left none. Borrowed. */
static json_t *node_of(json_t *nodes, const char *name)
{
	json_t *v = json_find(nodes, "node", name);

	if (v)
		return v;
	v = json_pack("{s:s, s:n, s:i}", "node", name, "completeSince", "remembered", 0);
	return json_array_append_new(nodes, v) == 0 ? v : NULL;
}

static int node_set(json_t *nodes, const char *name, const json_t *answer)
{
	const json_t *refused = json_object_get(answer, "refused");
	const json_t *passed = json_object_get(answer, "passed");
	json_t *node = node_of(nodes, name), *kernel;
	char refused_since[PAST_TIME], passed_since[PAST_TIME];

	kernel = json_pack("{s:s, s:i, s:I, s:s, s:i}", "refusedSince",
			   past_time(json_number(refused, "completeSinceUs"), refused_since),
			   "refused", (int)json_array_size(json_object_get(refused, "records")),
			   "lost", json_number(answer, "lost"), "passedSince",
			   past_time(json_number(passed, "completeSinceUs"), passed_since),
			   "passed", (int)json_array_size(json_object_get(passed, "records")));
	return json_object_set_new(node, "kernel", kernel) < 0 ? -ENOMEM : 0;
}

int past_read_kernel(const json_t *answer, const struct past_end *from, const struct past_end *to,
		     json_t *records, json_t *nodes)
{
	static const char *const parts[] = {"refused", "passed"};
	const char *node = json_text(answer, "node", "");

	if (node_set(nodes, node, answer) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		const json_t *list = json_object_get(json_object_get(answer, parts[i]), "records");
		const json_t *c;
		size_t k;

		json_array_foreach (list, k, c) {
			if (past_is_between(c, from, to) &&
			    json_array_append_new(records, record_of(c, node)) < 0)
				return -ENOMEM;
		}
	}
	return 0;
}
