/* SPDX-License-Identifier: Apache-2.0 */
/* rules - real maps: what a pod's exclusions put there, what stays, and what they say. */
#include "userspace/agent/rules.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/addr.h"
#include "userspace/agent/map_keys.h"

#define ENTRIES 8
#define COOKIE  17

static int outbound_fd, inbound_fd, ranges_fd;

int datapath_map_fd(const struct datapath *d, enum datapath_map map)
{
	if (map == DATAPATH_OUTBOUND_RULES)
		return outbound_fd;
	return map == DATAPATH_INBOUND_RULES ? inbound_fd : ranges_fd;
}

int datapath_put(struct datapath *d, enum datapath_map map, const void *key, const void *value)
{
	int r = bpf_map_update_elem(datapath_map_fd(d, map), key, value, BPF_ANY);

	return r == -ENOSPC ? -E2BIG : r;
}

/* As in bpf/maps.h, but small. */
static int map_make(enum bpf_map_type type, uint32_t key_size)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(type, "cv_rules", key_size, sizeof(uint32_t), ENTRIES, &opts);

	if (fd == -EPERM || fd == -ENOSYS)
		skip();
	assert_true(fd >= 0);
	return fd;
}

static int maps_make(void **state)
{
	outbound_fd = map_make(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct cv_outbound_key));
	inbound_fd = map_make(BPF_MAP_TYPE_HASH, sizeof(struct cv_service_key));
	ranges_fd = map_make(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct cv_inbound_range_key));
	return 0;
}

static int maps_close(void **state)
{
	close_fd(outbound_fd);
	close_fd(inbound_fd);
	close_fd(ranges_fd);
	return 0;
}

static struct cv_addr addr(const char *text)
{
	struct cv_addr a;

	assert_int_equal(cv_addr_parse(text, &a), 0);
	return a;
}

static void on_note(void *arg, const struct object *on, const char *annotation, const char *message,
		    bool is_warning)
{
	fail_msg("%s: %s", annotation, message);
}

/* @ports, @ranges: of annotations on the way in; NULL: not there. */
static struct exclusions exclusions_of(const char *ports, const char *ranges)
{
	const struct exclude_notes notes = {.fn = on_note};
	json_t *has = json_object();
	struct exclusions x;
	struct object *pod;

	if (ports)
		(void)json_object_set_new(has, "traffic.sidecar.istio.io/excludeInboundPorts",
					  json_string(ports));
	if (ranges)
		(void)json_object_set_new(has, "culvert.io/excludeInboundIPRanges",
					  json_string(ranges));
	assert_int_equal(
		object_new_json(json_pack("{s:s, s:{s:s, s:s, s:o}}", "kind", "Pod", "metadata",
					  "name", "a", "namespace", "b", "annotations", has),
				&pod),
		0);
	assert_int_equal(exclude_read(pod, NULL, &notes, &x), 0);
	(void)object_unref(pod);
	return x;
}

static int count(int fd)
{
	union {
		struct cv_outbound_key outbound;
		struct cv_service_key inbound;
		struct cv_inbound_range_key range;
	} key, next;
	int n = 0;

	map_keys_each (fd, key, next)
		n++;
	return n;
}

/* Return: -1 no entry. */
static int rule_at(const char *local, uint16_t port)
{
	struct cv_service_key key = {.addr = addr(local), .port = htons(port)};
	uint32_t rule;

	return bpf_map_lookup_elem(inbound_fd, &key, &rule) == 0 ? (int)rule : -1;
}

/* Is it left alone? */
static bool is_let_in(const char *local, uint16_t port, const char *source)
{
	const struct cv_sockaddr at = {.addr = addr(local), .port = htons(port)};
	const struct cv_addr from = addr(source);

	return rules_leave_alone(NULL, &at, &from);
}

/* put() - as the agent does when a pod's annotations change. Return: of rules_put(). */
static int put(const struct rules_of *of, const char *ports, const char *ranges)
{
	struct exclusions x = exclusions_of(ports, ranges);
	int r = rules_put(NULL, of, &x);

	if (r == 0)
		rules_keep(NULL, of, &x);
	exclude_clear(&x);
	return r;
}

static void a_range_holds_at_the_addresses_of_its_family(void **state)
{
	const struct cv_addr own[] = {addr("10.1.0.2"), addr("fd00::2")};
	const struct rules_of of = {.netns_cookie = COOKIE, .addrs = own, .addr_count = 2};

	assert_int_equal(put(&of, NULL, "10.9.0.0/16,192.0.2.7"), 0);
	assert_int_equal(count(ranges_fd), 2);
	assert_int_equal(rule_at("10.1.0.2", 0), CV_IN_CAPTURE | CV_IN_RANGES);
	assert_int_equal(rule_at("fd00::2", 0), CV_IN_CAPTURE);
	assert_true(is_let_in("10.1.0.2", 80, "10.9.255.255"));
	assert_true(is_let_in("10.1.0.2", 81, "::ffff:192.0.2.7"));
	assert_false(is_let_in("10.1.0.2", 80, "10.10.0.0"));
	assert_false(is_let_in("10.1.0.2", 80, "192.0.2.6"));
	assert_int_equal(put(&of, NULL, "::/0"), 0);
	assert_int_equal(count(ranges_fd), 1);
	assert_true(is_let_in("fd00::2", 80, "2001:db8::1"));
	assert_false(is_let_in("10.1.0.2", 80, "10.9.0.1"));
	assert_int_equal(rule_at("10.1.0.2", 0), CV_IN_CAPTURE);
}

static void ports_and_ranges_do_not_depend_on_each_other(void **state)
{
	const struct cv_addr own[] = {addr("10.1.0.2")};
	const struct rules_of of = {.netns_cookie = COOKIE, .addrs = own, .addr_count = 1};

	assert_int_equal(put(&of, "8080", "192.0.2.0/24"), 0);
	assert_true(is_let_in("10.1.0.2", 8080, "198.51.100.1"));
	assert_true(is_let_in("10.1.0.2", 80, "192.0.2.1"));
	assert_false(is_let_in("10.1.0.2", 80, "198.51.100.1"));
	assert_int_equal(put(&of, "8080", NULL), 0);
	assert_int_equal(count(ranges_fd), 0);
	assert_int_equal(rule_at("10.1.0.2", 0), CV_IN_CAPTURE);
	assert_true(is_let_in("10.1.0.2", 8080, "192.0.2.1"));
	assert_false(is_let_in("10.1.0.2", 80, "192.0.2.1"));
	assert_int_equal(put(&of, NULL, "192.0.2.0/24"), 0);
	assert_int_equal(count(inbound_fd), 1);
	assert_true(is_let_in("10.1.0.2", 8080, "192.0.2.1"));
	assert_false(is_let_in("10.1.0.2", 8080, "198.51.100.1"));
}

static void what_a_pod_leaves_takes_nothing_of_another_pods(void **state)
{
	static const struct exclusions none, all_in = {.is_in_listed = true};
	const struct cv_addr own[] = {addr("10.1.0.2")}, others[] = {addr("10.1.0.3")};
	const struct rules_of of = {.netns_cookie = COOKIE, .addrs = own, .addr_count = 1};
	const struct rules_of other = {
		.netns_cookie = COOKIE + 1, .addrs = others, .addr_count = 1};

	assert_int_equal(put(&of, "8080", "192.0.2.0/24"), 0);
	assert_int_equal(put(&other, NULL, "192.0.2.0/24"), 0);
	/* it leaves the mesh: one rule, for all, whoever comes */
	assert_int_equal(rules_put(NULL, &of, &all_in), 0);
	rules_keep(NULL, &of, &all_in);
	assert_int_equal(rule_at("10.1.0.2", 0), CV_IN_EXCLUDE);
	assert_int_equal(count(inbound_fd), 2);
	assert_int_equal(count(ranges_fd), 1);
	rules_keep(NULL, &of, &none);
	assert_int_equal(count(inbound_fd), 1);
	assert_true(is_let_in("10.1.0.3", 80, "192.0.2.1"));
	rules_keep(NULL, &other, &none);
	assert_int_equal(count(inbound_fd) + count(ranges_fd) + count(outbound_fd), 0);
}

static void without_room_none_of_them_stays(void **state)
{
	static const struct exclusions none;
	const struct cv_addr own[] = {addr("10.1.0.2")};
	const struct rules_of of = {.netns_cookie = COOKIE, .addrs = own, .addr_count = 1};

	assert_int_equal(put(&of, "8080", "192.0.2.1"), 0);
	assert_true(put(&of, NULL,
			"10.0.0.1,10.0.0.3,10.0.0.5,10.0.0.7,10.0.0.9,10.0.0.11,"
			"10.0.0.13,10.0.0.15,10.0.0.17") < 0);
	rules_keep(NULL, &of, &none);
	assert_int_equal(count(inbound_fd) + count(ranges_fd), 0);
	assert_false(is_let_in("10.1.0.2", 80, "10.0.0.1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_range_holds_at_the_addresses_of_its_family,
						maps_make, maps_close),
		cmocka_unit_test_setup_teardown(ports_and_ranges_do_not_depend_on_each_other,
						maps_make, maps_close),
		cmocka_unit_test_setup_teardown(what_a_pod_leaves_takes_nothing_of_another_pods,
						maps_make, maps_close),
		cmocka_unit_test_setup_teardown(without_room_none_of_them_stays, maps_make,
						maps_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
