/* SPDX-License-Identifier: Apache-2.0 */
#include "model/exclude.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "culvert/abi/maps.h"
#include "source/honoured.h"

#define TRAFFIC  "traffic.sidecar.istio.io/"
#define BYPASS   "ambient.istio.io/bypass-inbound-capture"
#define DNS      "ambient.istio.io/dns-capture"
#define REROUTE  "istio.io/reroute-virtual-interfaces"
#define BLANKS   " \t"
#define EVERY    "*"
#define DNS_PORT 53

/* One pod's reading. */
struct reading {
	const struct object *pod, *ns;
	const struct exclude_notes *notes;
	struct exclusions x;
	int r;
};

/* A list of items in one annotation. */
struct list_kind {
	const char *key;
	enum exclude_kind kind;
	bool may_be_all; /* "*", and with it no list */
};

static const struct list_kind lists[] = {
	{TRAFFIC "excludeOutboundPorts", EXCLUDE_OUT_EXCLUDE_PORT, false},
	{TRAFFIC "includeOutboundPorts", EXCLUDE_OUT_INCLUDE_PORT, false},
	{TRAFFIC "excludeOutboundIPRanges", EXCLUDE_OUT_EXCLUDE_RANGE, false},
	{TRAFFIC "includeOutboundIPRanges", EXCLUDE_OUT_INCLUDE_RANGE, true},
	{TRAFFIC "excludeInboundPorts", EXCLUDE_IN_EXCLUDE_PORT, false},
	{TRAFFIC "includeInboundPorts", EXCLUDE_IN_INCLUDE_PORT, true},
	/* Istio has none of this kind */
	{"culvert.io/excludeInboundIPRanges", EXCLUDE_IN_EXCLUDE_RANGE, false},
};

static bool is_range(enum exclude_kind kind)
{
	return kind == EXCLUDE_OUT_EXCLUDE_RANGE || kind == EXCLUDE_OUT_INCLUDE_RANGE ||
	       kind == EXCLUDE_IN_EXCLUDE_RANGE;
}

static const char *find(const struct reading *x, const char *key, const struct object **ret_on)
{
	const char *value = object_annotation(x->pod, key);

	*ret_on = x->pod;
	if (value || !x->ns)
		return value;
	*ret_on = x->ns;
	return object_annotation(x->ns, key);
}

static void note(const struct reading *x, const struct object *on, const char *key, bool is_warning,
		 const char *message)
{
	x->notes->fn(x->notes->arg, on, key, message, is_warning);
}

static int rule_add(struct exclusions *x, const struct exclude_rule *rule)
{
	struct exclude_rule *grown;

	if (exclude_has(x, rule))
		return 0;
	if (x->count == EXCLUDE_RULES_MAX)
		return -E2BIG;
	grown = realloc(x->rules, (x->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	x->rules = grown;
	x->rules[x->count++] = *rule;
	return 0;
}

static int item_add(struct exclusions *x, enum exclude_kind kind, const char *item)
{
	struct exclude_rule rule;
	uint64_t port = 0;

	/* compared as bytes */
	memset(&rule, 0, sizeof(rule));
	rule.kind = kind;
	if (is_range(kind)) {
		if (cidr_parse(item, &rule.range) < 0)
			return -EINVAL;
		rule.range = cidr_mask(&rule.range);
	} else if (str_parse_u64(item, 1, UINT16_MAX, &port) < 0) {
		return -EINVAL;
	}
	rule.port = (uint16_t)port;
	return rule_add(x, &rule);
}

static char *trimmed(char *s)
{
	size_t n;

	s += strspn(s, BLANKS);
	n = strlen(s);
	while (n > 0 && strchr(BLANKS, s[n - 1]))
		s[--n] = '\0';
	return s;
}

/* All items, or none: half of a list would be neither what was meant nor nothing. */
static int items_add(struct exclusions *x, enum exclude_kind kind, const char *value, char bad[64])
{
	_cleanup_(freep) char *copy = strdup(value);
	size_t before = x->count;
	char *rest = copy;
	int r = copy ? 0 : -ENOMEM;

	for (char *item = strsep(&rest, ","); r == 0 && item; item = strsep(&rest, ",")) {
		item = trimmed(item);
		if (!*item)
			continue;
		r = item_add(x, kind, item);
		if (r < 0)
			(void)snprintf(bad, 64, "%.60s", item);
	}
	if (r < 0)
		x->count = before;
	return r;
}

static void list_note(struct reading *x, const struct list_kind *k, const struct object *on, int r,
		      const char *bad)
{
	char text[256];

	if (r == -E2BIG)
		(void)snprintf(text, sizeof(text),
			       "more than %d ports and ranges; it is not in force",
			       EXCLUDE_RULES_MAX);
	else
		(void)snprintf(text, sizeof(text),
			       "expected %s separated by commas%s, found \"%s\"; it is not in "
			       "force",
			       is_range(k->kind) ? "ranges like 10.0.0.0/8"
						 : "ports from 1 to 65535",
			       k->may_be_all ? ", or *" : "", bad);
	note(x, on, k->key, false, text);
}

static void list_read(struct reading *x, const struct list_kind *k)
{
	const struct object *on;
	const char *value = find(x, k->key, &on);
	char bad[64] = "";
	int r;

	if (!value || (k->may_be_all && streq(value, EVERY)))
		return;
	r = items_add(&x->x, k->kind, value, bad);
	if (r == -ENOMEM) {
		x->r = r;
		return;
	}
	if (r < 0) {
		list_note(x, k, on, r, bad);
		return;
	}
	x->x.is_out_listed |= k->kind == EXCLUDE_OUT_INCLUDE_RANGE;
	x->x.is_in_listed |= k->kind == EXCLUDE_IN_INCLUDE_PORT;
}

/* Return: the word's value; @fallback where there is none that can be understood. */
static bool word_read(const struct reading *x, const char *key, bool fallback)
{
	const struct object *on;
	const char *value = find(x, key, &on);

	if (!value || streq(value, "true") || streq(value, "false"))
		return value ? streq(value, "true") : fallback;
	note(x, on, key, false, "expected true or false; it is not in force");
	return fallback;
}

/* As the kernel has them. */
static bool is_interface(const char *name)
{
	return strlen(name) < IF_NAMESIZE && !streq(name, ".") && !streq(name, "..") &&
	       !strpbrk(name, "/: \t\r\n");
}

static bool has_reroute(const struct exclusions *x, const char *name)
{
	for (size_t i = 0; i < x->reroute_count; i++)
		if (streq(x->reroute[i], name))
			return true;
	return false;
}

static int reroute_add(struct exclusions *x, const char *name)
{
	if (!is_interface(name))
		return -EINVAL;
	if (has_reroute(x, name))
		return 0;
	if (x->reroute_count == EXCLUDE_REROUTE_MAX)
		return -E2BIG;
	(void)str_copy(x->reroute[x->reroute_count++], IF_NAMESIZE, name);
	return 0;
}

/* All of them, or none. */
static void reroute_read(struct reading *x)
{
	const struct object *on;
	const char *value = find(x, REROUTE, &on);
	_cleanup_(freep) char *copy = value ? strdup(value) : NULL;
	char *rest = copy, text[128];
	int r = 0;

	if (value && !copy)
		x->r = -ENOMEM;
	for (char *item = strsep(&rest, ","); r == 0 && item; item = strsep(&rest, ",")) {
		item = trimmed(item);
		r = *item ? reroute_add(&x->x, item) : 0;
		if (r == -EINVAL)
			(void)snprintf(text, sizeof(text),
				       "expected names of interfaces separated by commas, found "
				       "\"%.40s\"; it is not in force",
				       item);
	}
	if (r == -E2BIG)
		(void)snprintf(text, sizeof(text), "more than %d interfaces; it is not in force",
			       EXCLUDE_REROUTE_MAX);
	if (r == 0)
		return;
	x->x.reroute_count = 0;
	note(x, on, REROUTE, false, text);
}

static void words_read(struct reading *x)
{
	const struct object *on;

	x->x.is_in_listed |= word_read(x, BYPASS, false);
	/* who excludes port 53 means DNS, over UDP too */
	x->x.is_dns_off = !word_read(x, DNS, true) ||
			  exclude_has_port(&x->x, EXCLUDE_OUT_EXCLUDE_PORT, DNS_PORT);
	if (exclude_has_port(&x->x, EXCLUDE_IN_EXCLUDE_PORT, CV_HBONE_PORT)) {
		(void)find(x, lists[4].key, &on);
		note(x, on, lists[4].key, true,
		     HONOURED_AS_OF "15008 is where the mesh comes in and stays captured");
	}
}

int exclude_read(const struct object *pod, const struct object *ns,
		 const struct exclude_notes *notes, struct exclusions *ret)
{
	struct reading x = {.pod = pod, .ns = ns, .notes = notes};

	for (size_t i = 0; i < ARRAY_SIZE(lists) && x.r == 0; i++)
		list_read(&x, &lists[i]);
	if (x.r == 0)
		reroute_read(&x);
	if (x.r < 0) {
		exclude_clear(&x.x);
		return x.r;
	}
	words_read(&x);
	*ret = x.x;
	return 0;
}

void exclude_clear(struct exclusions *x)
{
	free(x->rules);
	*x = (struct exclusions){0};
}

static bool rule_is_same(const struct exclude_rule *a, const struct exclude_rule *b)
{
	return a->kind == b->kind && a->port == b->port && a->range.len == b->range.len &&
	       cv_addr_equal(&a->range.addr, &b->range.addr);
}

bool exclude_has(const struct exclusions *x, const struct exclude_rule *rule)
{
	for (size_t i = 0; i < x->count; i++)
		if (rule_is_same(&x->rules[i], rule))
			return true;
	return false;
}

bool exclude_has_port(const struct exclusions *x, enum exclude_kind kind, uint16_t port)
{
	struct exclude_rule rule;

	memset(&rule, 0, sizeof(rule));
	rule.kind = kind;
	rule.port = port;
	return exclude_has(x, &rule);
}

bool exclude_has_inbound(const struct exclusions *x)
{
	for (size_t i = 0; i < x->count; i++)
		if (x->rules[i].kind >= EXCLUDE_IN_EXCLUDE_PORT)
			return true;
	return x->is_in_listed;
}

bool exclude_is_same(const struct exclusions *a, const struct exclusions *b)
{
	if (a->count != b->count || a->is_out_listed != b->is_out_listed ||
	    a->is_in_listed != b->is_in_listed || a->is_dns_off != b->is_dns_off ||
	    a->reroute_count != b->reroute_count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!exclude_has(b, &a->rules[i]))
			return false;
	for (size_t i = 0; i < a->reroute_count; i++)
		if (!has_reroute(b, a->reroute[i]))
			return false;
	return true;
}

void exclude_for_each(const struct exclusions *x, void (*fn)(void *arg, const char *line),
		      void *arg)
{
	static const char *const texts[] = {
		[EXCLUDE_OUT_EXCLUDE_RANGE] = "out: not %s",
		[EXCLUDE_OUT_INCLUDE_RANGE] = "out: %s",
		[EXCLUDE_OUT_EXCLUDE_PORT] = "out: not port %s",
		[EXCLUDE_OUT_INCLUDE_PORT] = "out: port %s",
		[EXCLUDE_IN_EXCLUDE_PORT] = "in: not port %s",
		[EXCLUDE_IN_INCLUDE_PORT] = "in: port %s",
		[EXCLUDE_IN_EXCLUDE_RANGE] = "in: not from %s",
	};
	char item[CIDR_STRLEN], line[CIDR_STRLEN + 32];

	for (size_t i = 0; i < x->count; i++) {
		const struct exclude_rule *rule = &x->rules[i];

		if (is_range(rule->kind))
			(void)cidr_format(&rule->range, item);
		else
			(void)snprintf(item, sizeof(item), "%u", rule->port);
		/* NOLINTNEXTLINE(clang-diagnostic-format-nonliteral) */
		(void)snprintf(line, sizeof(line), texts[rule->kind], item);
		fn(arg, line);
	}
	if (x->is_out_listed)
		fn(arg, "out: nothing else");
	if (x->is_in_listed)
		fn(arg, "in: nothing else but 15008");
	if (x->is_dns_off)
		fn(arg, "dns: no");
}
