/* SPDX-License-Identifier: Apache-2.0 */
/* links - which of a namespace's interfaces lead to the agent's own; netlink under it. */
#include "userspace/agent/links.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "userspace/agent/netlink.h"

/* The agent's namespace, a pod's, and a third one. */
static struct netns_home home;
static int pod_fd = -EBADF, third_fd = -EBADF;

static int open_self(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void shell(const char *command)
{
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
}

static int setup(void **state)
{
	char command[512];

	if (geteuid() != 0)
		return 0;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	third_fd = open_self();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	pod_fd = open_self();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(netns_home_open(0, &home), 0);
	(void)snprintf(command, sizeof(command),
		       "ip -batch - <<'END'\n"
		       "link add h0 address 02:00:00:00:00:11 type veth peer name eth0 address "
		       "02:00:00:00:00:12 netns /proc/%d/fd/%d\n"
		       "END",
		       (int)getpid(), pod_fd);
	shell(command);
	return 0;
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

static void test_the_hosts_end_is_found_with_both_addresses(void **state)
{
	static const uint8_t host[6] = {2, 0, 0, 0, 0, 0x11}, pod[6] = {2, 0, 0, 0, 0, 0x12};
	struct link links[LINKS_MAX];
	size_t n = 0;

	need_root();
	assert_int_equal(links_find(&home, pod_fd, links, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(links[0].ifindex, if_nametoindex("h0"));
	assert_memory_equal(links[0].host_mac, host, sizeof(host));
	assert_memory_equal(links[0].pod_mac, pod, sizeof(pod));
}

static int add_others(void *arg)
{
	char command[256];

	(void)snprintf(command, sizeof(command),
		       "ip link add x0 type veth peer name x1 netns /proc/%d/fd/%d; "
		       "ip link add y0 type veth peer name y1",
		       (int)getpid(), third_fd);
	shell(command);
	return 0;
}

static void test_links_to_elsewhere_are_left_out(void **state)
{
	struct link links[LINKS_MAX];
	size_t n = 0;

	need_root();
	assert_int_equal(netns_call(&home, pod_fd, add_others, NULL), 0);
	assert_int_equal(links_find(&home, pod_fd, links, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(links_find(&home, third_fd, links, &n), 0);
	assert_int_equal(n, 0);
}

static int add_many(void *arg)
{
	char command[256];

	(void)snprintf(command, sizeof(command),
		       "for i in $(seq %d); do echo link add a$i type veth peer name b$i netns "
		       "/proc/%d/fd/%d; done | ip -batch -",
		       LINKS_MAX + 1, (int)getpid(), third_fd);
	shell(command);
	return 0;
}

/* As in a pod that runs containers: its own link is guarded all the same. */
static void test_many_links_inside_the_pod_hide_none(void **state)
{
	struct link links[LINKS_MAX];
	size_t n = 0;

	need_root();
	assert_int_equal(netns_call(&home, pod_fd, add_many, NULL), 0);
	assert_int_equal(links_find(&home, pod_fd, links, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(links[0].ifindex, if_nametoindex("h0"));
}

static bool is_queued_after(const char *command)
{
	struct link links[LINKS_MAX];
	size_t n = 0;

	shell(command);
	assert_int_equal(links_find(&home, pod_fd, links, &n), 0);
	assert_int_equal(n, 1);
	return links[0].is_queued;
}

static void test_a_qdisc_that_limits_is_seen(void **state)
{
	need_root();
	assert_false(is_queued_after("true"));
	assert_false(is_queued_after("ip link set h0 up"));
	assert_true(
		is_queued_after("tc qdisc add dev h0 root tbf rate 1mbit burst 32k latency 1s"));
	assert_true(is_queued_after("tc qdisc replace dev h0 root pfifo"));
	assert_false(is_queued_after("tc qdisc del dev h0 root; tc qdisc add dev h0 clsact"));
}

static int fail_at_once(void *arg, const struct nlmsghdr *h)
{
	++*(int *)arg;
	return -ELOOP;
}

static void test_the_callbacks_error_ends_the_call(void **state)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg info;
	} q = {.h = {.nlmsg_len = sizeof(q),
		     .nlmsg_type = RTM_GETLINK,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
	int calls = 0;

	assert_int_equal(netlink_call(NETLINK_ROUTE, &q.h, fail_at_once, &calls), -ELOOP);
	assert_int_equal(calls, 1);
	q.h.nlmsg_flags = NLM_F_REQUEST;
	q.info.ifi_index = 999999;
	assert_int_equal(netlink_call(NETLINK_ROUTE, &q.h, fail_at_once, &calls), -ENODEV);
}

static void test_attributes_are_found_by_type_and_size(void **state)
{
	struct {
		struct rtattr first;
		uint32_t value;
		struct rtattr second;
		uint16_t small;
	} a = {.first = {RTA_LENGTH(4), 7}, .value = 5, .second = {RTA_LENGTH(2), 9}, .small = 1};
	const uint32_t *found = netlink_attr(&a.first, sizeof(a), 7, sizeof(uint32_t));

	assert_non_null(found);
	assert_int_equal(*found, 5);
	assert_null(netlink_attr(&a.first, sizeof(a), 8, 1));
	assert_null(netlink_attr(&a.first, sizeof(a), 9, sizeof(uint32_t)));
	assert_null(netlink_attr(&a.first, 3, 7, 1));
	a.first.rta_len = 2; /* shorter than itself */
	assert_null(netlink_attr(&a.first, sizeof(a), 7, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_hosts_end_is_found_with_both_addresses),
		cmocka_unit_test(test_links_to_elsewhere_are_left_out),
		cmocka_unit_test(test_many_links_inside_the_pod_hide_none),
		cmocka_unit_test(test_a_qdisc_that_limits_is_seen),
		cmocka_unit_test(test_the_callbacks_error_ends_the_call),
		cmocka_unit_test(test_attributes_are_found_by_type_and_size),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
