/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "map_keys.h"
#include "net/addr.h"

#define ADDR_BITS 128

_Static_assert((int)EXCLUDE_OUT_EXCLUDE_RANGE == (int)CV_OUT_EXCLUDE_RANGE &&
		       (int)EXCLUDE_OUT_INCLUDE_RANGE == (int)CV_OUT_INCLUDE_RANGE &&
		       (int)EXCLUDE_OUT_EXCLUDE_PORT == (int)CV_OUT_EXCLUDE_PORT &&
		       (int)EXCLUDE_OUT_INCLUDE_PORT == (int)CV_OUT_INCLUDE_PORT,
	       "one numbering");

static bool is_outbound(const struct exclude_rule *rule)
{
	return rule->kind < EXCLUDE_IN_EXCLUDE_PORT;
}

static struct cv_outbound_key outbound_key(uint64_t cookie, const struct exclude_rule *rule)
{
	struct cv_outbound_key key = {
		.prefix_len = CV_OUTBOUND_PREFIX + ADDR_BITS,
		.kind = (uint16_t)rule->kind,
		.netns_cookie = cookie,
	};

	key.addr.w[0] = rule->port;
	if (rule->port)
		return key;
	key.prefix_len = CV_OUTBOUND_PREFIX + rule->range.len;
	key.is_v4 = cv_addr_is_v4(&rule->range.addr);
	key.addr = rule->range.addr;
	return key;
}

static struct exclude_rule outbound_rule(const struct cv_outbound_key *key)
{
	struct exclude_rule rule;

	memset(&rule, 0, sizeof(rule));
	rule.kind = (enum exclude_kind)key->kind;
	if (key->kind == CV_OUT_EXCLUDE_PORT || key->kind == CV_OUT_INCLUDE_PORT) {
		rule.port = (uint16_t)key->addr.w[0];
		return rule;
	}
	rule.range.addr = key->addr;
	rule.range.len = (uint8_t)(key->prefix_len - CV_OUTBOUND_PREFIX);
	return rule;
}

static int outbound_put(struct datapath *d, uint64_t cookie, const struct exclude_rule *rule)
{
	struct cv_outbound_key key = outbound_key(cookie, rule);
	uint32_t one = 1;

	return datapath_put(d, DATAPATH_OUTBOUND_RULES, &key, &one);
}

static struct exclude_rule range_rule(const struct cv_inbound_range_key *key)
{
	struct exclude_rule rule;

	memset(&rule, 0, sizeof(rule));
	rule.kind = EXCLUDE_IN_EXCLUDE_RANGE;
	rule.range.addr = key->source;
	rule.range.len = (uint8_t)(key->prefix_len - CV_INBOUND_RANGE_PREFIX);
	return rule;
}

/* An IPv4 address is never in an IPv6 range: at one of the pod's, ::/0 is nobody. */
static bool is_range_at(const struct exclude_rule *rule, const struct cv_addr *addr)
{
	return rule->kind == EXCLUDE_IN_EXCLUDE_RANGE &&
	       cv_addr_is_v4(&rule->range.addr) == cv_addr_is_v4(addr);
}

static bool has_range_at(const struct exclusions *x, const struct cv_addr *addr)
{
	for (size_t i = 0; i < x->count; i++)
		if (is_range_at(&x->rules[i], addr))
			return true;
	return false;
}

static int range_put(struct datapath *d, const struct cv_addr *addr, const struct cidr *range)
{
	struct cv_inbound_range_key key = {
		.prefix_len = CV_INBOUND_RANGE_PREFIX + range->len,
		.local = *addr,
		.source = range->addr,
	};
	uint32_t one = 1;

	return datapath_put(d, DATAPATH_INBOUND_RANGES, &key, &one);
}

static int inbound_put(struct datapath *d, const struct cv_addr *addr, uint16_t port, uint32_t rule)
{
	struct cv_service_key key = {.addr = *addr, .port = htons(port)};

	return datapath_put(d, DATAPATH_INBOUND_RULES, &key, &rule);
}

/* Exclusions win over what is listed. */
static uint32_t inbound_of(const struct exclusions *x, uint16_t port)
{
	if (exclude_has_port(x, EXCLUDE_IN_EXCLUDE_PORT, port))
		return CV_IN_EXCLUDE;
	if (port && exclude_has_port(x, EXCLUDE_IN_INCLUDE_PORT, port))
		return CV_IN_CAPTURE;
	return x->is_in_listed ? CV_IN_EXCLUDE : CV_IN_CAPTURE;
}

static int inbound_rule_put(struct datapath *d, const struct cv_addr *addr,
			    const struct exclusions *x, const struct exclude_rule *rule)
{
	if (rule->kind == EXCLUDE_IN_EXCLUDE_RANGE)
		return is_range_at(rule, addr) ? range_put(d, addr, &rule->range) : 0;
	return inbound_put(d, addr, rule->port, inbound_of(x, rule->port));
}

/* Ports and ranges before the rule of all others, which is what makes them count. */
static int inbound_put_all(struct datapath *d, const struct cv_addr *addr,
			   const struct exclusions *x)
{
	uint32_t ranges = has_range_at(x, addr) ? CV_IN_RANGES : 0;
	int r = 0;

	for (size_t i = 0; i < x->count && r == 0; i++)
		if (!is_outbound(&x->rules[i]))
			r = inbound_rule_put(d, addr, x, &x->rules[i]);
	return r < 0 ? r : inbound_put(d, addr, 0, inbound_of(x, 0) | ranges);
}

int rules_put(struct datapath *d, const struct rules_of *of, const struct exclusions *x)
{
	int r = 0;

	for (size_t i = 0; i < x->count && r == 0; i++)
		if (is_outbound(&x->rules[i]))
			r = outbound_put(d, of->netns_cookie, &x->rules[i]);
	for (size_t i = 0; i < of->addr_count && r == 0 && exclude_has_inbound(x); i++)
		r = inbound_put_all(d, &of->addrs[i], x);
	return r;
}

static void outbound_keep(struct datapath *d, uint64_t cookie, const struct exclusions *x)
{
	int fd = datapath_map_fd(d, DATAPATH_OUTBOUND_RULES);
	struct cv_outbound_key key, next;

	map_keys_each (fd, key, next) {
		const struct exclude_rule rule = outbound_rule(&key);

		if (key.netns_cookie == cookie && !exclude_has(x, &rule))
			(void)bpf_map_delete_elem(fd, &key);
	}
}

static bool is_addr_of(const struct rules_of *of, const struct cv_addr *addr)
{
	for (size_t i = 0; i < of->addr_count; i++)
		if (cv_addr_equal(&of->addrs[i], addr))
			return true;
	return false;
}

static bool is_inbound_kept(const struct exclusions *x, uint16_t port)
{
	if (port == 0)
		return exclude_has_inbound(x);
	return exclude_has_port(x, EXCLUDE_IN_EXCLUDE_PORT, port) ||
	       exclude_has_port(x, EXCLUDE_IN_INCLUDE_PORT, port);
}

static void inbound_keep(struct datapath *d, const struct rules_of *of, const struct exclusions *x)
{
	int fd = datapath_map_fd(d, DATAPATH_INBOUND_RULES);
	struct cv_service_key key, next;

	map_keys_each (fd, key, next)
		if (is_addr_of(of, &key.addr) && !is_inbound_kept(x, ntohs(key.port)))
			(void)bpf_map_delete_elem(fd, &key);
}

static void ranges_keep(struct datapath *d, const struct rules_of *of, const struct exclusions *x)
{
	int fd = datapath_map_fd(d, DATAPATH_INBOUND_RANGES);
	struct cv_inbound_range_key key, next;

	map_keys_each (fd, key, next) {
		const struct exclude_rule rule = range_rule(&key);

		if (is_addr_of(of, &key.local) && !exclude_has(x, &rule))
			(void)bpf_map_delete_elem(fd, &key);
	}
}

void rules_keep(struct datapath *d, const struct rules_of *of, const struct exclusions *x)
{
	outbound_keep(d, of->netns_cookie, x);
	inbound_keep(d, of, x);
	ranges_keep(d, of, x);
}

static bool has_source(const struct datapath *d, const struct cv_addr *addr,
		       const struct cv_addr *source)
{
	const struct cv_inbound_range_key key = {
		.prefix_len = CV_INBOUND_RANGE_PREFIX + ADDR_BITS,
		.local = *addr,
		.source = *source,
	};
	uint32_t one;

	return bpf_map_lookup_elem(datapath_map_fd(d, DATAPATH_INBOUND_RANGES), &key, &one) == 0;
}

bool rules_leave_alone(const struct datapath *d, const struct cv_sockaddr *at,
		       const struct cv_addr *source)
{
	struct cv_service_key key = {.addr = at->addr};
	int fd = datapath_map_fd(d, DATAPATH_INBOUND_RULES);
	uint32_t others, rule;

	if (bpf_map_lookup_elem(fd, &key, &others) < 0)
		return false;
	key.port = at->port;
	if (bpf_map_lookup_elem(fd, &key, &rule) < 0)
		rule = others;
	return rule & CV_IN_EXCLUDE || (others & CV_IN_RANGES && has_source(d, &at->addr, source));
}

uint32_t rules_flags(const struct exclusions *x)
{
	uint32_t flags = x->is_out_listed ? CV_POD_OUT_RULES | CV_POD_OUT_LISTED : 0;

	for (size_t i = 0; i < x->count; i++)
		if (is_outbound(&x->rules[i]))
			flags |= CV_POD_OUT_RULES;
	return flags;
}
