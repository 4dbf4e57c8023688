/* SPDX-License-Identifier: Apache-2.0 */
/* pods_addrs, enrolment_addrs - whose an address is that more than one pod has. The data path is a
 * record of what was taken out of it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "base/str.h"
#include "net/addr.h"
#include "userspace/agent/enrolment_private.h"
#include "userspace/agent/pods_private.h"

#define MAX_PODS 3

/* "-steer 10.0.0.2 -local17 10.0.0.2 " */
static char calls[1024];
static const char *mesh_name; /* of who has mesh_addr */
static struct cv_addr mesh_addr;

static struct pods pods;
static struct enrolment_context context = {.others = &pods_others, .others_arg = &pods};
static struct pod all[MAX_PODS];
static struct podspec specs[MAX_PODS];
static struct enrolment enrolments[MAX_PODS];

static void note(const char *what, unsigned int cookie, const struct cv_addr *a)
{
	char text[CV_ADDR_STRLEN], one[100];

	(void)snprintf(one, sizeof(one), "-%s%u %s ", what, cookie, cv_addr_format(a, text));
	(void)strncat(calls, one, sizeof(calls) - strlen(calls) - 1);
}

int datapath_map_fd(const struct datapath *d, enum datapath_map map)
{
	(void)d;
	(void)map;
	return -1;
}

void datapath_steer_del(struct datapath *d, const struct cv_addr *addr)
{
	(void)d;
	note("steer", 0, addr);
}

void datapath_local_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
	(void)d;
	note("local", (unsigned int)cookie, addr);
}

void datapath_pod_addr_del(struct datapath *d, uint64_t cookie, const struct cv_addr *addr)
{
	(void)d;
	note("self", (unsigned int)cookie, addr);
}

int bpf_map_lookup_elem(int fd, const void *key, void *value)
{
	struct cv_dest *dest = value;

	(void)fd;
	if (!mesh_name || !cv_addr_equal(key, &mesh_addr))
		return -ENOENT;
	memset(dest, 0, sizeof(*dest));
	dest->flags = CV_DEST_MESH;
	(void)str_copy(dest->name, sizeof(dest->name), mesh_name);
	return 0;
}

void enrolment_entry_init(struct enrolment *e)
{
	(void)e;
}

void enrolment_rules(struct enrolment *e, const struct podspec *spec)
{
	(void)e;
	(void)spec;
}

void enrolment_rules_forget(const struct enrolment *e)
{
	(void)e;
}

static struct cv_addr addr(const char *text)
{
	struct cv_addr a;

	assert_int_equal(cv_addr_parse(text, &a), 0);
	return a;
}

static size_t parse(const char *text, struct cv_addr *ret)
{
	char copy[256], *rest = copy, *one;
	size_t n = 0;

	assert_true(str_copy(copy, sizeof(copy), text) >= 0);
	while ((one = strtok_r(rest, " ", &rest)))
		ret[n++] = addr(one);
	return n;
}

static void assert_addrs(const struct cv_addr *addrs, size_t n, const char *want)
{
	struct cv_addr wanted[NETNS_MAX_ADDRS];

	assert_int_equal(n, parse(want, wanted));
	for (size_t i = 0; i < n; i++)
		assert_true(cv_addr_equal(&addrs[i], &wanted[i]));
}

/* A pod whose status has these addresses, not yet enrolled; its cookie is 10 + @i. */
static struct pod *want(size_t i, char *key, const char *ips)
{
	specs[i] = (struct podspec){.key = key, .netns = key};
	specs[i].ip_count = parse(ips, specs[i].ips);
	all[i] = (struct pod){.pods = &pods, .spec = &specs[i]};
	assert_int_equal(map_put_str(pods.by_key, key, &all[i]), 0);
	return &all[i];
}

/* In a list, with these besides. */
static struct enrolment *enrol_in(struct list *list, struct pod *pod, const char *besides)
{
	struct enrolment *e = &enrolments[pod - all];
	struct enrolment_addrs chosen;
	struct look look = {0};
	char err[ENROLMENT_ERROR_LEN];

	*e = (struct enrolment){.ctx = &context, .cookie = 10 + (uint64_t)(pod - all)};
	(void)str_copy(e->key, sizeof(e->key), pod->spec->key);
	look.addr_count = parse(besides, look.addrs);
	for (size_t i = 0; i < pod->spec->ip_count; i++)
		look.addrs[look.addr_count++] = pod->spec->ips[i];
	assert_int_equal(addrs_choose(pod->spec, e, &look, &chosen, err), 0);
	e->addrs = chosen;
	e->owner = pod;
	pod->enrolment = e;
	list_add_tail(list, &e->link);
	return e;
}

static struct enrolment *enrol(struct pod *pod, const char *besides)
{
	return enrol_in(&pods.enrolments, pod, besides);
}

static int begin(void **state)
{
	(void)state;
	calls[0] = '\0';
	mesh_name = NULL;
	pods = (struct pods){.config.enrolment = &context};
	list_init(&pods.enrolments);
	list_init(&pods.draining);
	return map_new(&pods.by_key);
}

static int end(void **state)
{
	(void)state;
	map_free(pods.by_key);
	return 0;
}

static void test_own_first_and_link_local_last(void **state)
{
	struct enrolment *e =
		enrol(want(0, "demo/a", "10.0.0.2 fd00::2"), "169.254.7.7 fe80::1 10.0.2.1");

	(void)state;
	assert_addrs(e->addrs.all, e->addrs.count, "10.0.0.2 fd00::2 10.0.2.1 169.254.7.7 fe80::1");
	assert_int_equal(e->addrs.own_count, 2);
	assert_int_equal(e->addrs.refused_count, 0);
}

static void test_a_namespace_without_them(void **state)
{
	struct pod *pod = want(0, "demo/a", "10.0.0.2");
	struct enrolment e = {.ctx = &context};
	struct look look = {0};
	struct enrolment_addrs got;
	char err[ENROLMENT_ERROR_LEN];

	(void)state;
	assert_int_equal(addrs_choose(pod->spec, &e, &look, &got, err), -EINVAL);
	assert_string_equal(err,
			    "status.podIPs: the network namespace demo/a has no address 10.0.0.2");
	pod->spec->ip_count = 0;
	assert_int_equal(addrs_choose(pod->spec, &e, &look, &got, err), -EADDRNOTAVAIL);
	assert_string_equal(err, "the network namespace demo/a has no address yet");
}

/* While it starts, its own are what its network plugin gave it, and not what it gives itself. */
static void test_before_the_status_is_there(void **state)
{
	struct enrolment *e = enrol(want(0, "demo/a", ""), "10.0.0.2 fe80::1");
	struct look look = {0};
	struct enrolment_addrs got;
	char err[ENROLMENT_ERROR_LEN];

	(void)state;
	assert_int_equal(e->addrs.own_count, 1);
	look.addr_count = parse("10.0.0.3 10.0.0.2 fe80::1", look.addrs);
	assert_int_equal(addrs_choose(&specs[0], e, &look, &got, err), 0);
	assert_addrs(got.all, got.count, "10.0.0.2 10.0.0.3 fe80::1");
	assert_int_equal(got.own_count, 1);
	want(1, "demo/v", "");
	e = enrol(&all[1], "10.0.0.2 10.0.0.4");
	assert_int_equal(e->addrs.own_count, 2);
}

static void test_what_another_owns_is_refused(void **state)
{
	struct enrolment *e;

	(void)state;
	want(1, "demo/v", "10.0.0.3 fd00::3"); /* known, not enrolled yet */
	mesh_addr = addr("10.0.1.9");
	mesh_name = "demo/remote";
	e = enrol(want(0, "demo/a", "10.0.0.2"), "10.0.0.3 10.0.1.9 fd00::3 10.0.0.4");
	assert_addrs(e->addrs.all, e->addrs.count, "10.0.0.2 10.0.0.4");
	assert_addrs(e->addrs.refused, e->addrs.refused_count, "10.0.0.3 10.0.1.9 fd00::3");
	/* ... and the owner's is its own, whoever came first. */
	e = enrol(&all[1], "");
	assert_int_equal(e->addrs.own_count, 2);
}

static void test_what_the_mesh_has_under_its_own_name_is_not(void **state)
{
	struct enrolment *e;

	(void)state;
	mesh_addr = addr("10.0.0.4");
	mesh_name = "demo/a";
	e = enrol(want(0, "demo/a", "10.0.0.2"), "10.0.0.4");
	assert_int_equal(e->addrs.refused_count, 0);
	assert_int_equal(e->addrs.count, 2);
}

static void test_an_owner_that_comes_later_gets_it(void **state)
{
	struct enrolment *a = enrol(want(0, "demo/a", "10.0.0.2"), "10.0.0.3 10.0.0.4"), *v;

	(void)state;
	assert_addrs(a->addrs.all, a->addrs.count, "10.0.0.2 10.0.0.3 10.0.0.4");
	a->is_offered = true;
	pods.in_flight = 1;
	v = enrol(want(1, "demo/v", "10.0.0.3"), "");
	pods_addrs_claim(&pods, v);
	assert_string_equal(calls, "-steer0 10.0.0.3 -local10 10.0.0.3 -self10 10.0.0.3 ");
	assert_addrs(a->addrs.all, a->addrs.count, "10.0.0.2 10.0.0.4");
	assert_addrs(a->addrs.refused, a->addrs.refused_count, "10.0.0.3");
	assert_false(a->is_offered);
	assert_int_equal(pods.in_flight, 0);
	assert_addrs(v->addrs.all, v->addrs.count, "10.0.0.3");
	calls[0] = '\0';
	pods_addrs_claim(&pods, v);
	pods_addrs_claim(&pods, a);
	assert_string_equal(calls, "");
}

static void test_one_that_is_leaving_gives_it_up_too(void **state)
{
	struct enrolment *a = enrol_in(&pods.draining, want(0, "demo/a", "10.0.0.2"), "10.0.0.3"),
			 *v;

	(void)state;
	v = enrol(want(1, "demo/v", "10.0.0.3"), "");
	pods_addrs_claim(&pods, v);
	assert_addrs(a->addrs.all, a->addrs.count, "10.0.0.2");
}

/* KubeVirt gives every pod's bridge the same one. */
static void test_neithers_own_is_served_by_neither(void **state)
{
	struct enrolment *a = enrol(want(0, "demo/a", "10.0.0.2"), "10.0.2.1 10.0.0.9 fe80::1"),
			 *b = enrol(want(1, "demo/b", "10.0.0.3"), "10.0.2.1 fe80::1");

	(void)state;
	assert_int_equal(a->addrs.refused_count + b->addrs.refused_count, 0);
	pods_clashes_resolve(&pods, b);
	assert_int_equal(b->unsteered, 1u << 1 | 1u << 2);
	assert_string_equal(calls, "-steer0 10.0.2.1 -steer0 fe80::1 ");
	pods_clashes_resolve(&pods, a);
	assert_int_equal(a->unsteered, 1u << 1 | 1u << 3);
}

static void test_own_ones_always_are(void **state)
{
	struct enrolment *a, *b;

	(void)state;
	a = enrol(want(0, "demo/a", "10.0.0.2"), "");
	b = enrol(want(1, "demo/b", "10.0.0.2"), ""); /* a status that is behind */
	pods_clashes_resolve(&pods, a);
	pods_clashes_resolve(&pods, b);
	assert_int_equal(a->unsteered | b->unsteered, 0);
	assert_string_equal(calls, "");
}

static void shell(const char *command)
{
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own words */
}

/* In a namespace of the test's own. */
static void test_what_it_no_longer_has(void **state)
{
	struct netns_home home;
	struct enrolment *a;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_int_equal(netns_home_open(0, &home), 0);
	context.home = &home;
	shell("ip addr add 10.0.0.2/32 dev lo && ip addr add 10.0.0.8/32 dev lo");
	a = enrol(want(0, "demo/a", "10.0.0.2"), "10.0.2.1 10.0.0.8 10.0.0.9");
	enrol(want(1, "demo/b", "10.0.0.3"), "10.0.2.1");
	a->netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(a->netns_fd >= 0);
	assert_int_equal(enrolment_refresh(a, &specs[0]), 1);
	/* another one has the first still */
	assert_string_equal(calls, "-local10 10.0.2.1 -self10 10.0.2.1 "
				   "-steer0 10.0.0.9 -local10 10.0.0.9 -self10 10.0.0.9 ");
	assert_int_equal(enrolment_refresh(a, &specs[0]), 0);
	/* the same ones, but more of them are the Pod's own */
	specs[0].ip_count = parse("10.0.0.2 10.0.0.8", specs[0].ips);
	assert_int_equal(enrolment_refresh(a, &specs[0]), 1);
	assert_int_equal(a->addrs.own_count, 2);
	assert_true(enrolment_fits(&context, &specs[0], "/proc/self/ns/net"));
	specs[0].ip_count = parse("10.0.0.2 10.0.0.5", specs[0].ips);
	assert_false(enrolment_fits(&context, &specs[0], "/proc/self/ns/net"));
	specs[0].ip_count = 0; /* no status yet */
	assert_false(enrolment_fits(&context, &specs[0], "/proc/self/ns/net"));
	close(a->netns_fd);
	context.home = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_own_first_and_link_local_last, begin, end),
		cmocka_unit_test_setup_teardown(test_a_namespace_without_them, begin, end),
		cmocka_unit_test_setup_teardown(test_before_the_status_is_there, begin, end),
		cmocka_unit_test_setup_teardown(test_what_another_owns_is_refused, begin, end),
		cmocka_unit_test_setup_teardown(test_what_the_mesh_has_under_its_own_name_is_not,
						begin, end),
		cmocka_unit_test_setup_teardown(test_an_owner_that_comes_later_gets_it, begin, end),
		cmocka_unit_test_setup_teardown(test_one_that_is_leaving_gives_it_up_too, begin,
						end),
		cmocka_unit_test_setup_teardown(test_neithers_own_is_served_by_neither, begin, end),
		cmocka_unit_test_setup_teardown(test_own_ones_always_are, begin, end),
		cmocka_unit_test_setup_teardown(test_what_it_no_longer_has, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
