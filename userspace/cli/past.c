/* SPDX-License-Identifier: Apache-2.0 */
/* past - how connections went that are over: ztunnel's rings and what the agent knows of the
 * kernel's doings, asked of every node. */
#include "past.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"
#include "match.h"

/* split_port() - cuts ":PORT" off; "[v6]" loses its brackets. */
static int split_port(char *text, unsigned int *ret_port)
{
	char *colon = strrchr(text, ':');
	size_t n;
	uint64_t port;

	if (colon && text[0] != '[' && strchr(text, ':') != colon)
		colon = NULL; /* an address of IPv6, bare */
	if (colon && text[0] == '[' && colon[-1] != ']')
		colon = NULL;
	if (colon) {
		if (str_parse_u64(colon + 1, 1, UINT16_MAX, &port) < 0)
			return -EINVAL;
		*ret_port = (unsigned int)port;
		*colon = '\0';
	}
	n = strlen(text);
	if (text[0] == '[' && n > 2 && text[n - 1] == ']') {
		text[n - 1] = '\0';
		memmove(text, text + 1, n - 1);
	}
	return 0;
}

int past_end_parse(const char *s, bool may_have_port, struct past_end *ret)
{
	struct past_end e = {.port = 0};

	if (!*s || str_copy(e.text, sizeof(e.text), s) < 0)
		return -EINVAL;
	if (may_have_port && split_port(e.text, &e.port) < 0)
		return -EINVAL;
	e.is_addr = cv_addr_parse(e.text, &e.addr) == 0;
	*ret = e;
	return 0;
}

/* is_at() - has the record this address at one of @keys? */
static bool is_at(const struct past_end *e, const json_t *c, const char *const *keys)
{
	struct cv_sockaddr sa;

	for (; *keys; keys++)
		if (cv_sockaddr_parse(json_text(c, *keys, ""), &sa) == 0 &&
		    (!e->is_addr || cv_addr_equal(&sa.addr, &e->addr)) &&
		    (!e->port || ntohs(sa.port) == e->port))
			return true;
	return false;
}

static bool is_from(const struct past_end *e, const json_t *c)
{
	static const char *const keys[] = {"src", NULL};

	if (e->is_addr)
		return is_at(e, c, keys);
	return !*e->text ||
	       match_pod(e->text, json_text(c, "srcNamespace", ""), json_text(c, "srcName", ""));
}

/* The port may be the one that was asked for, or the one that it came to mean. */
static bool is_to(const struct past_end *e, const json_t *c)
{
	static const char *const keys[] = {"asked", "dst", NULL};

	if (!is_at(e, c, keys))
		return !e->is_addr && !e->port && !*e->text;
	return e->is_addr || !*e->text || match_service(e->text, json_text(c, "service", "")) ||
	       match_pod(e->text, json_text(c, "dstNamespace", ""), json_text(c, "dstName", ""));
}

const char *past_time(json_int_t us, char into[PAST_TIME])
{
	time_t seconds = (time_t)(us / 1000000);
	struct tm tm;
	size_t n;

	if (us < 0 || !gmtime_r(&seconds, &tm))
		return "?";
	n = strftime(into, PAST_TIME - 5, "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(into + n, PAST_TIME - n, ".%03dZ", (int)(us / 1000 % 1000));
	return into;
}

bool past_is_between(const json_t *c, const struct past_end *from, const struct past_end *to)
{
	return json_is_object(c) && is_from(from, c) && is_to(to, c);
}

/* name_of() - "words/client (10.0.0.1)", "10.0.0.1" where it is nobody of the mesh. */
static char *name_of(const json_t *c, const char *const keys[3])
{
	const char *name = json_text(c, keys[1], ""), *at = json_text(c, keys[2], "?");

	if (!*name)
		return str_format("%s", at);
	return str_format("%s/%s (%s)", json_text(c, keys[0], ""), name, at);
}

char *past_src(const json_t *c)
{
	return name_of(c, (const char *const[]){"srcNamespace", "srcName", "src"});
}

char *past_dst(const json_t *c)
{
	return name_of(c, (const char *const[]){"dstNamespace", "dstName", "dst"});
}

static const char *way_of(const json_t *c)
{
	static const char *const ways[][2] = {
		{"tunnel", "through a tunnel (mutual TLS)"},
		{"direct", "directly inside the node, both ends vouched for by its kernel"},
		{"plaintext", "in plaintext, without an identity"},
		{"passthrough", "as it is, to a destination that is no workload of the mesh"},
		{"none", "before it had a way"},
	};
	const char *path = json_text(c, "path", "");

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (streq(path, ways[i][0]))
			return ways[i][1];
	return "on an unknown path";
}

/* What became of it: before the way it took, and after. */
static const char *const fates[][3] = {
	{"allowed", "was allowed and went ", ", and ended well"},
	{"broken", "was allowed, went ", ", and broke off"},
	{"cut", "was open, ", ", until it was denied"},
	{"denied", "was denied, ", ""},
	{"failed", "failed to be set up, ", ""},
};

static char *sentence_of(const json_t *c)
{
	_cleanup_(freep) char *from = past_src(c);
	_cleanup_(freep) char *to = past_dst(c);
	const char *verdict = json_text(c, "verdict", ""),
		   *host = strchr(json_text(c, "service", ""), '/');
	const char *error = json_text(c, "error", ""), *policy = json_text(c, "policy", "");
	const char *const *fate = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
		if (streq(verdict, fates[i][0]))
			fate = fates[i];
	if (!from || !to)
		return NULL;
	if (!fate)
		return str_format("How it went from %s to %s is told in a word that is not known "
				  "here: %s.",
				  from, to, verdict);
	/* a policy that the error names already is not named twice */
	policy = strstr(error, policy) ? "" : policy;
	return str_format("From %s to %s%s%s, it %s%s%s%s%s%s%s.", from, to, host ? " for " : "",
			  host ? host + 1 : "", fate[1], way_of(c), fate[2], *error ? ": " : "",
			  error, *policy ? ", policy " : "", policy);
}

static json_t *record_of(const json_t *c, const char *node)
{
	_cleanup_(freep) char *sentence = sentence_of(c);
	char ended[PAST_TIME];
	json_t *record;

	if (!sentence)
		return NULL;
	record = json_pack("{s:s, s:s, s:s, s:s}", "by", "ztunnel", "node", node, "ended",
			   past_time(json_number(c, "endedUs"), ended), "sentence", sentence);
	if (record && json_object_update(record, (json_t *)(uintptr_t)c) < 0) {
		json_decref(record);
		return NULL;
	}
	return record;
}

int past_read(const json_t *answer, const struct past_end *from, const struct past_end *to,
	      json_t *records, json_t *nodes)
{
	const json_t *ended = json_object_get(answer, "ended"), *c;
	const char *node = json_text(answer, "node", "");
	char since[PAST_TIME];
	size_t i;

	if (json_array_append_new(
		    nodes, json_pack("{s:s, s:s, s:i}", "node", node, "completeSince",
				     past_time(json_number(answer, "completeSinceUs"), since),
				     "remembered", (int)json_array_size(ended))) < 0)
		return -ENOMEM;
	json_array_foreach (ended, i, c) {
		if (past_is_between(c, from, to) &&
		    json_array_append_new(records, record_of(c, node)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int compare(const void *x, const void *y)
{
	json_int_t a = json_number(*(json_t *const *)x, "endedUs");
	json_int_t b = json_number(*(json_t *const *)y, "endedUs");

	return (a > b) - (a < b);
}

int past_sort(json_t *records, size_t last)
{
	size_t n = json_array_size(records);
	_cleanup_(freep) json_t **list = calloc(n + 1, sizeof(json_t *));
	size_t first = last && n > last ? n - last : 0;

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		list[i] = json_incref(json_array_get(records, i));
	qsort(list, n, sizeof(json_t *), compare);
	(void)json_array_clear(records);
	for (size_t i = 0; i < n; i++) {
		if (i >= first)
			(void)json_array_append(records, list[i]);
		json_decref(list[i]);
	}
	return 0;
}

struct question {
	struct past_end from, to;
	json_t *records, *nodes;
};

typedef int read_fn(const json_t *answer, const struct past_end *from, const struct past_end *to,
		    json_t *records, json_t *nodes);

/* ask() - one daemon; one that does not answer is told and left out. Return: 0; -ENOMEM. */
static int ask(struct question *q, const struct admin_node *n, const char *part, read_fn *read)
{
	_cleanup_(json_decrefp) json_t *answer = NULL;
	const char *target = streq(part, "agent") ? "/past" : "/connections/ended";
	int r = admin_get_json(n, part, target, &answer);

	if (r == 0)
		return read(answer, &q->from, &q->to, q->records, q->nodes);
	(void)admin_fail(n, part, r);
	return 0;
}

/* ask_all() - Return: 0; the exit code. */
static int ask_all(struct question *q, const struct admin_node *nodes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (ask(q, &nodes[i], "ztunnel", past_read) < 0 ||
		    ask(q, &nodes[i], "agent", past_read_kernel) < 0)
			return cli_fail("out of memory");
	return json_array_size(q->nodes) > 0 ? 0 : 1;
}

int past_ask(const char *node, const char *run_dir, const char *output, size_t last,
	     const char *const ends[2])
{
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	_cleanup_(json_decrefp) json_t *all = json_pack("{s:[], s:[]}", "nodes", "connections");
	struct question q = {.records = json_object_get(all, "connections"),
			     .nodes = json_object_get(all, "nodes")};
	size_t n;
	int r;

	for (int i = 0; i < 2; i++)
		if (ends[i] && past_end_parse(ends[i], i == 1, i == 0 ? &q.from : &q.to) < 0) {
			(void)cli_fail("explain: %s: expected a pod, a service or an address%s",
				       ends[i], i == 1 ? ", with or without :PORT" : "");
			return 2;
		}
	if (!found || !all)
		return cli_fail("out of memory");
	n = admin_find_nodes(node, run_dir, found, ADMIN_NODES_MAX);
	if (n == 0)
		return admin_none();
	r = ask_all(&q, found, n);
	if (r > 0)
		return r;
	if (past_sort(q.records, last) < 0)
		return cli_fail("out of memory");
	if (streq(output, "short"))
		past_print(q.records, q.nodes);
	else
		json_print(all, output);
	return 0;
}
