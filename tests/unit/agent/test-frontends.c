/* SPDX-License-Identifier: Apache-2.0 */
/* frontends - which services the programs may balance themselves. */
#include "userspace/agent/frontends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "base/macros.h"
#include "net/addr.h"

#define VIP 0x0a600001u

/* What the programs have of VIP:80. */
static struct cv_frontend shown;
static bool is_shown;
static unsigned int times; /* that it was told */

static void on_frontend(void *arg, const struct cv_service_key *key,
			const struct cv_frontend *frontend)
{
	if (ntohs(key->port) != 80)
		return;
	shown = *frontend;
	is_shown = true;
	times++;
}

static void on_frontend_gone(void *arg, const struct cv_service_key *key)
{
	if (ntohs(key->port) == 80)
		is_shown = false;
}

static const struct frontends_ops ops = {on_frontend, on_frontend_gone};

static struct cv_addr vip, vip6;
static struct port_map service_ports[] = {{80, 8080}, {81, 0}};

static int setup(void **state)
{
	is_shown = false;
	vip = cv_addr_from_v4(htonl(VIP));
	assert_int_equal(cv_addr_parse("fd00::1", &vip6), 0);
	return frontends_new("n1", &ops, NULL, (struct frontends **)state);
}

static int teardown(void **state)
{
	(void)frontends_free(*state);
	return 0;
}

static struct resource service(void)
{
	return (struct resource){.is_service = true,
				 .addrs = &vip,
				 .addr_count = 1,
				 .ports = service_ports,
				 .port_count = ARRAY_SIZE(service_ports)};
}

/* A workload with everything it points to. */
struct end {
	struct resource r;
	struct cv_addr addr;
	struct service_link link;
	struct port_map port;
};

static void end_init(struct end *e, uint32_t ip, const char *node)
{
	memset(e, 0, sizeof(*e));
	e->addr = cv_addr_from_v4(htonl(ip));
	e->link.key = (char *)"demo/web";
	e->r = (struct resource){.is_hbone = true,
				 .is_healthy = true,
				 .capacity = 1,
				 .node = (char *)node,
				 .addrs = &e->addr,
				 .addr_count = 1,
				 .services = &e->link,
				 .service_count = 1};
}

static void replace(struct frontends *f, const char *name, const struct resource *old,
		    const struct resource *new)
{
	frontends_replace(f, name, old, new);
	frontends_flush(f);
}

static void put(struct frontends *f, const char *name, const struct resource *r)
{
	replace(f, name, NULL, r);
}

static void test_an_endpoint_of_this_node_is_shown_with_its_port(void **state)
{
	struct resource s = service();
	struct end a;

	end_init(&a, 1, "n1");
	put(*state, "a", &a.r);
	assert_false(is_shown);
	put(*state, "demo/web", &s);
	assert_true(is_shown);
	assert_int_equal(shown.count, 1);
	assert_int_equal(shown.weight, 1);
	assert_int_equal(ntohs(shown.ends[0].to.port), 8080);
	assert_true(cv_addr_equal(&shown.ends[0].to.addr, &a.addr));
	replace(*state, "a", &a.r, NULL);
	assert_false(is_shown);
}

static void test_the_endpoints_own_ports_beat_the_services(void **state)
{
	struct resource s = service();
	struct end a;

	end_init(&a, 1, "n1");
	a.port = (struct port_map){80, 9090};
	a.link.ports = &a.port;
	a.link.port_count = 1;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	assert_int_equal(ntohs(shown.ends[0].to.port), 9090);
}

static void assert_part(uint32_t here, uint32_t all)
{
	assert_true(is_shown);
	assert_int_equal(shown.ends[shown.count - 1].weight_end, here);
	assert_int_equal(shown.weight, all);
}

static void test_what_is_elsewhere_weighs_in(void **state)
{
	struct resource s = service();
	struct end a, b;

	end_init(&a, 1, "n1");
	end_init(&b, 2, "n2");
	b.r.capacity = 3;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	assert_part(1, 1);
	put(*state, "b", &b.r);
	assert_part(1, 4);
	replace(*state, "b", &b.r, NULL);
	assert_part(1, 1);
	b.r.node = (char *)"n1";
	b.r.is_hbone = false; /* of this node, outside the mesh */
	put(*state, "b", &b.r);
	assert_part(1, 4);
	replace(*state, "a", &a.r, NULL);
	assert_false(is_shown);
	put(*state, "a", &a.r);
	replace(*state, "b", &b.r, NULL);
	b.r.capacity = UINT32_MAX;
	put(*state, "b", &b.r);
	assert_false(is_shown);
}

/* A named port that some pods do not have. */
static void test_what_does_not_serve_the_port_does_not_weigh_in(void **state)
{
	static struct port_map named[] = {{80, 0}};
	struct resource s = service();
	struct end a, b, c;

	s.ports = named;
	s.port_count = 1;
	end_init(&a, 1, "n1");
	end_init(&b, 2, "n2");
	end_init(&c, 3, "n2");
	c.r.capacity = 8;
	a.port = b.port = (struct port_map){80, 8080};
	a.link.ports = &a.port;
	b.link.ports = &b.port;
	a.link.port_count = b.link.port_count = 1;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	put(*state, "b", &b.r);
	put(*state, "c", &c.r);
	assert_part(1, 2);
	replace(*state, "b", &b.r, NULL);
	assert_part(1, 1);
}

/* There ztunnel sees no address of theirs. */
static void test_a_service_of_several_networks_is_left_to_ztunnel(void **state)
{
	struct resource s = service();
	struct end a, b, c;

	end_init(&a, 1, "n1");
	end_init(&b, 2, "n2");
	end_init(&c, 3, "n2");
	b.r.network = 7;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	put(*state, "b", &b.r);
	assert_false(is_shown);
	replace(*state, "b", &b.r, NULL);
	assert_part(1, 1);
	put(*state, "c", &c.r);
	assert_part(1, 2);
	put(*state, "b", &b.r);
	assert_false(is_shown);
}

static void test_what_comes_together_is_told_once(void **state)
{
	struct resource s = service();
	struct end ends[3];

	put(*state, "demo/web", &s);
	times = 0;
	for (uint32_t i = 0; i < ARRAY_SIZE(ends); i++) {
		const char name[2] = {(char)('a' + i), '\0'};

		end_init(&ends[i], i + 1, i ? "n2" : "n1");
		frontends_replace(*state, name, NULL, &ends[i].r);
	}
	assert_false(is_shown);
	frontends_flush(*state);
	assert_part(1, 3);
	assert_int_equal(times, 1);
}

/* What the place of the others, or the client, has a say in is more than lots. */
static void test_a_mixed_service_with_a_preference_is_left_to_ztunnel(void **state)
{
	struct resource zone = service(), sticky = service();
	const struct resource *const left[] = {&zone, &sticky};
	struct end a, b;

	zone.is_zone_first = true;
	sticky.is_sticky = true;
	end_init(&a, 1, "n1");
	end_init(&b, 2, "n2");
	put(*state, "a", &a.r);
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		put(*state, "demo/web", left[i]);
		assert_part(1, 1);
		put(*state, "b", &b.r);
		assert_false(is_shown);
		replace(*state, "b", &b.r, NULL);
		replace(*state, "demo/web", left[i], NULL);
	}
}

static void test_endpoints_that_get_nothing_do_not_count(void **state)
{
	struct resource s = service(), lenient = service();
	struct end a, b, c;

	end_init(&a, 1, "n1");
	end_init(&b, 2, "n2");
	end_init(&c, 3, "n1");
	b.r.is_healthy = false;
	c.r.capacity = 0;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	put(*state, "b", &b.r);
	put(*state, "c", &c.r);
	assert_true(is_shown);
	assert_int_equal(shown.count, 1);
	lenient.is_allow_unhealthy = true;
	assert_part(1, 1);
	replace(*state, "demo/web", &s, &lenient);
	assert_part(1, 2);
}

static void test_a_draining_endpoint_goes(void **state)
{
	struct resource s = service();
	struct end a, b, draining;

	end_init(&a, 1, "n1");
	end_init(&b, 2, "n1");
	end_init(&draining, 2, "n1");
	draining.r.is_healthy = false;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	put(*state, "b", &b.r);
	assert_int_equal(shown.count, 2);
	replace(*state, "b", &b.r, &draining.r);
	assert_int_equal(shown.count, 1);
}

static void test_weights_add_up(void **state)
{
	struct resource s = service();
	struct end a, b;

	end_init(&a, 1, "n1");
	end_init(&b, 2, "n1");
	a.r.capacity = 3;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	put(*state, "b", &b.r);
	assert_int_equal(shown.weight, 4);
	assert_int_equal(shown.ends[0].weight_end, 3);
	assert_int_equal(shown.ends[1].weight_end, 4);
	replace(*state, "b", &b.r, NULL);
	b.r.capacity = UINT32_MAX;
	put(*state, "b", &b.r);
	assert_false(is_shown);
}

static void test_the_node_first_ignores_the_others(void **state)
{
	struct resource s = service();
	struct end a, b;

	s.is_node_first = true;
	end_init(&a, 1, "n1");
	end_init(&b, 2, "n2");
	put(*state, "demo/web", &s);
	put(*state, "b", &b.r);
	assert_false(is_shown);
	put(*state, "a", &a.r);
	assert_part(1, 1);
}

/* One of this node that is in no mesh is as near: a choice without it would never reach it. */
static void test_the_node_first_counts_all_of_the_node(void **state)
{
	struct resource s = service();
	struct end a, b;

	s.is_node_first = true;
	end_init(&a, 1, "n1");
	end_init(&b, 2, "n1");
	b.r.is_hbone = false;
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	assert_true(is_shown);
	put(*state, "b", &b.r);
	assert_false(is_shown);
	replace(*state, "b", &b.r, NULL);
	b.r.is_healthy = false;
	put(*state, "b", &b.r);
	assert_part(1, 1);
}

static void test_what_only_ztunnel_can_do_is_not_shown(void **state)
{
	struct resource waypoint = service(), passthrough = service(), hidden = service(),
			v6 = service(), plain = service();
	const struct resource *const left[] = {&waypoint, &passthrough, &hidden, &v6};
	struct end a;

	waypoint.has_waypoint = true;
	passthrough.is_passthrough = true;
	hidden.is_namespace_only = true;
	v6.families = RESOURCE_FAMILIES_V6;
	end_init(&a, 1, "n1");
	put(*state, "a", &a.r);
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		put(*state, "demo/web", left[i]);
		assert_false(is_shown);
		replace(*state, "demo/web", left[i], &plain);
		assert_true(is_shown);
		replace(*state, "demo/web", &plain, NULL);
		assert_false(is_shown);
	}
	put(*state, "demo/web", &plain);
	replace(*state, "a", &a.r, NULL);
	a.r.has_waypoint = true;
	put(*state, "a", &a.r);
	assert_false(is_shown);
}

static void test_affinity_needs_a_single_endpoint(void **state)
{
	struct resource s = service();
	struct end a, b;

	s.is_sticky = true;
	end_init(&a, 1, "n1");
	end_init(&b, 2, "n1");
	put(*state, "demo/web", &s);
	put(*state, "a", &a.r);
	assert_true(is_shown);
	put(*state, "b", &b.r);
	assert_false(is_shown);
}

static void test_a_vip_of_two_services_is_left_to_ztunnel(void **state)
{
	struct resource s = service(), other = service();
	struct end a;

	end_init(&a, 1, "n1");
	put(*state, "a", &a.r);
	put(*state, "demo/web", &s);
	assert_true(is_shown);
	put(*state, "demo/other", &other);
	assert_false(is_shown);
	replace(*state, "a", &a.r, &a.r);
	assert_false(is_shown);
	replace(*state, "demo/other", &other, NULL);
	replace(*state, "a", &a.r, &a.r);
	assert_true(is_shown);
}

static void test_an_endpoint_without_the_family_leaves_it_to_ztunnel(void **state)
{
	struct resource s = service();
	struct end a;

	s.addrs = &vip6;
	end_init(&a, 1, "n1");
	put(*state, "a", &a.r);
	put(*state, "demo/web", &s);
	assert_false(is_shown);
}

static void test_too_many_endpoints_are_left_to_ztunnel(void **state)
{
	struct resource s = service();
	struct end ends[CV_FRONTEND_ENDS + 1];
	char name[2] = "a";

	put(*state, "demo/web", &s);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++, name[0]++) {
		end_init(&ends[i], (uint32_t)i + 1, "n1");
		put(*state, name, &ends[i].r);
		assert_int_equal(is_shown, i < CV_FRONTEND_ENDS);
	}
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_endpoint_of_this_node_is_shown_with_its_port),
		TEST(test_the_endpoints_own_ports_beat_the_services),
		TEST(test_what_is_elsewhere_weighs_in),
		TEST(test_what_does_not_serve_the_port_does_not_weigh_in),
		TEST(test_a_service_of_several_networks_is_left_to_ztunnel),
		TEST(test_what_comes_together_is_told_once),
		TEST(test_a_mixed_service_with_a_preference_is_left_to_ztunnel),
		TEST(test_endpoints_that_get_nothing_do_not_count),
		TEST(test_a_draining_endpoint_goes),
		TEST(test_weights_add_up),
		TEST(test_the_node_first_ignores_the_others),
		TEST(test_the_node_first_counts_all_of_the_node),
		TEST(test_what_only_ztunnel_can_do_is_not_shown),
		TEST(test_affinity_needs_a_single_endpoint),
		TEST(test_a_vip_of_two_services_is_left_to_ztunnel),
		TEST(test_an_endpoint_without_the_family_leaves_it_to_ztunnel),
		TEST(test_too_many_endpoints_are_left_to_ztunnel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
