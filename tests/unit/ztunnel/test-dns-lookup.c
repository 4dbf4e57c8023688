/* SPDX-License-Identifier: Apache-2.0 */
/* dns-lookup - names as pods write them, and as their resolvers lengthen them. */
#include "ztunnel/dns_lookup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/ztunnel/mesh.h"

static const struct dns_client client = {
	.namespace_ = "demo",
	.search = {"demo.svc.cluster.local", "svc.cluster.local", "cluster.local"},
	.search_count = 3,
	.is_assumed = true,
};

struct lookup_case {
	const char *name;
	const char *service; /* NULL: not ours */
	const char *cname;
};

static struct state *world(void)
{
	struct state_builder *b = NULL;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_service(b,
			 &(struct mesh_service){.name = "httpd", .vips = {"10.96.0.1", "fd96::1"}});
	mesh_put_service(b, &(struct mesh_service){
				    .name = "db", .namespace_ = "data", .vips = {"10.96.0.2"}});
	mesh_put_service(b, &(struct mesh_service){.name = "headless"});
	mesh_put_service(b, &(struct mesh_service){.name = "ext", .hostname = "api.example.com"});
	mesh_put_service(b, &(struct mesh_service){.name = "wild",
						   .hostname = "*.example.org",
						   .vips = {"240.240.0.1"}});
	mesh_put_service(b, &(struct mesh_service){.name = "range",
						   .hostname = "db.corp.example",
						   .vips = {"10.1.0.0"},
						   .vip_bits = 16});
	mesh_put_service(b, &(struct mesh_service){.name = "ranges",
						   .hostname = "*.intra.example",
						   .vips = {"10.1.0.0"},
						   .vip_bits = 16});
	mesh_put_service(b, &(struct mesh_service){.name = "own",
						   .hostname = "own.example.org",
						   .vips = {"10.1.0.0"},
						   .vip_bits = 16});
	mesh_put_service(
		b, &(struct mesh_service){.name = "inside", .vips = {"10.1.0.0"}, .vip_bits = 16});
	mesh_put_service(b, &(struct mesh_service){.name = "secret",
						   .namespace_ = "data",
						   .vips = {"10.96.0.3"},
						   .is_namespace_only = true});
	mesh_put_service(b, &(struct mesh_service){.name = "lb",
						   .vips = {"10.96.0.4", "198.51.100.1", "fd99::1"},
						   .external = {"198.51.100.1", "fd99::1"}});
	mesh_put_service(b, &(struct mesh_service){.name = "lb-headless",
						   .vips = {"198.51.100.2"},
						   .external = {"198.51.100.2"}});
	mesh_put_workload(b, &(struct mesh_workload){
				     .name = "l0",
				     .addrs = {"10.0.0.7"},
				     .services = {"demo/lb-headless.demo.svc.cluster.local"}});
	mesh_put_workload(
		b, &(struct mesh_workload){.name = "h0",
					   .addrs = {"10.0.0.5", "fd00::5"},
					   .services = {"demo/headless.demo.svc.cluster.local",
							"demo/inside.demo.svc.cluster.local"}});
	mesh_put_workload(
		b, &(struct mesh_workload){.name = "web-0",
					   .addrs = {"10.0.0.6"},
					   .hostname = "web-0",
					   .subdomain = "headless",
					   .services = {"demo/headless.demo.svc.cluster.local"}});
	s = mesh_build(b);
	state_builder_free(b);
	return s;
}

TEST(names_are_found_as_written_and_as_lengthened)
{
	static const struct lookup_case cases[] = {
		{"httpd.demo.svc.cluster.local", "httpd", ""},
		{"httpd", "httpd", ""},
		{"httpd.demo", "httpd", ""},
		{"httpd.demo.svc", "httpd", ""},
		{"db.data", "db", ""},
		{"db", NULL, NULL},
		{"db.data.demo.svc.cluster.local", "db", "db.data.svc.cluster.local"},
		{"httpd.demo.svc.cluster.local.demo.svc.cluster.local", "httpd",
		 "httpd.demo.svc.cluster.local"},
		{"httpd.demo.svc.cluster.local.cluster.local", "httpd",
		 "httpd.demo.svc.cluster.local"},
		{"headless.demo.svc.cluster.local", "headless", ""},
		{"web-0.headless.demo.svc.cluster.local", "headless", ""},
		{"web-0.headless", "headless", ""},
		{"web-0.headless.demo.svc.cluster.local.svc.cluster.local", "headless",
		 "web-0.headless.demo.svc.cluster.local"},
		{"web-1.headless", NULL, NULL},
		{"h0.headless", NULL, NULL}, /* has no subdomain */
		{"web-0.httpd", NULL, NULL},
		{"web.headless", NULL, NULL},
		{"api.example.com", NULL, NULL}, /* no address of its own: DNS knows better */
		/* where in its ranges it is, too */
		{"db.corp.example", NULL, NULL},
		{"db.corp.example.demo.svc.cluster.local", NULL, NULL},
		{"a.intra.example", NULL, NULL},
		{"own.example.org", NULL, NULL}, /* no matter what the wildcard has */
		{"inside.demo.svc.cluster.local", "inside", ""},
		{"a.example.org", "wild", ""},
		{"a.b.example.org", "wild", ""},
		{"example.org", NULL, NULL},
		{"a.example.org.svc.cluster.local", "wild", ""},
		{"secret.data.svc.cluster.local", NULL, NULL},
		{"www.debian.org", NULL, NULL},
		{"svc.cluster.local", NULL, NULL},
		{".demo.svc.cluster.local", NULL, NULL},
		{"", NULL, NULL},
	};
	struct state *s = world();
	struct dns_match m;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = dns_lookup(s, &client, "cluster.local", cases[i].name, &m);

		if (r != (cases[i].service ? 0 : -ENOENT))
			fail_msg("%s: %d", cases[i].name, r);
		if (r == 0) {
			assert_string_equal(m.service->def->name, cases[i].service);
			assert_string_equal(m.cname, cases[i].cname);
		}
	}
	state_unref(s);
}

#define MANY 10000

static struct state *large_world(void)
{
	struct state_builder *b = NULL;
	struct state *s;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_service(b, &(struct mesh_service){.name = "headless"});
	for (unsigned int i = 0; i < MANY; i++) {
		char name[16], addr[16];

		(void)snprintf(name, sizeof(name), "web-%u", i);
		(void)snprintf(addr, sizeof(addr), "10.1.%u.%u", i >> 8, i & 255);
		mesh_put_workload(b, &(struct mesh_workload){
					     .name = name,
					     .addrs = {addr},
					     .hostname = name,
					     .subdomain = "headless",
					     .services = {"demo/headless.demo.svc.cluster.local"}});
	}
	s = mesh_build(b);
	state_builder_free(b);
	return s;
}

TEST(a_name_is_found_among_many_pods)
{
	static const char *const names[] = {"web-9999.headless.demo.svc.cluster.local",
					    "web-x.headless.demo.svc.cluster.local"};
	struct state *s = large_world();
	struct dns_match m;

	assert_int_equal(dns_lookup(s, &client, "cluster.local", names[1], &m), -ENOENT);
	assert_int_equal(dns_lookup(s, &client, "cluster.local", names[0], &m), 0);
	assert_string_equal(m.pod->name, "web-9999");
	state_unref(s);
}

static bool is_ours(const struct dns_client *c, const char *name)
{
	struct state *s = world();
	struct dns_match m;
	int r = dns_lookup(s, c, "cluster.local", name, &m);

	state_unref(s);
	return r == 0;
}

TEST(the_pods_own_search_list_decides)
{
	struct dns_client none = {.namespace_ = "demo"};
	struct dns_client own = client;

	own.is_assumed = false;
	assert_false(is_ours(&none, "httpd"));
	assert_false(is_ours(&none, "httpd.demo.svc.cluster.local.cluster.local"));
	assert_true(is_ours(&none, "httpd.demo.svc.cluster.local"));
	/* to lengthen a short name is for the pod's resolver, to which it may be a real one */
	assert_false(is_ours(&own, "httpd.demo"));
	assert_true(is_ours(&own, "httpd.demo.demo.svc.cluster.local"));
}

/* What follows in the list has its say first. */
TEST(a_domain_that_is_not_the_clusters_is_not_answered_for)
{
	struct dns_client own = {
		.namespace_ = "demo",
		.search = {"demo.svc.cluster.local", "corp.example", "svc.cluster.local"},
		.search_count = 3,
	};

	assert_true(is_ours(&own, "httpd.demo.svc.cluster.local"));
	assert_false(is_ours(&own, "httpd.corp.example"));
	assert_false(is_ours(&own, "db.data.demo.svc.cluster.local"));
	assert_true(is_ours(&own, "a.example.org.svc.cluster.local"));
	own.search[1] = "notcluster.local";
	assert_false(is_ours(&own, "db.data.demo.svc.cluster.local"));
	own.search[1] = "cluster.local";
	assert_true(is_ours(&own, "db.data.demo.svc.cluster.local"));
}

TEST(the_longest_names_are_survived)
{
	struct state *s = world();
	struct dns_match m;
	char name[DNS_NAME_SIZE];

	for (size_t i = 0; i < sizeof(name) - 1; i++)
		name[i] = i % 2 ? '.' : 'a';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(dns_lookup(s, &client, "cluster.local", name, &m), -ENOENT);
	memcpy(name + sizeof(name) - 1 - strlen(".svc.cluster.local"), ".svc.cluster.local", 19);
	assert_int_equal(dns_lookup(s, &client, "cluster.local", name, &m), -ENOENT);
	state_unref(s);
}

TEST(addresses_are_of_the_family_asked_for)
{
	struct cv_addr addrs[DNS_ADDRS_MAX];
	struct state *s = world();
	struct dns_match m;
	struct cv_addr want;

	assert_int_equal(dns_lookup(s, &client, "cluster.local", "httpd", &m), 0);
	assert_int_equal(dns_addrs(&m, DNS_TYPE_A, addrs), 1);
	want = mesh_addr("10.96.0.1");
	assert_memory_equal(&addrs[0], &want, sizeof(want));
	assert_int_equal(dns_addrs(&m, DNS_TYPE_AAAA, addrs), 1);
	assert_int_equal(dns_lookup(s, &client, "cluster.local", "db.data", &m), 0);
	assert_int_equal(dns_addrs(&m, DNS_TYPE_AAAA, addrs), 0);
	assert_int_equal(dns_lookup(s, &client, "cluster.local", "headless", &m), 0);
	assert_int_equal(dns_addrs(&m, DNS_TYPE_AAAA, addrs), 1);
	want = mesh_addr("fd00::5");
	assert_memory_equal(&addrs[0], &want, sizeof(want));
	assert_int_equal(dns_addrs(&m, DNS_TYPE_A, addrs), 2);
	assert_int_equal(dns_lookup(s, &client, "cluster.local", "inside", &m), 0);
	assert_int_equal(dns_addrs(&m, DNS_TYPE_A, addrs), 1);
	assert_int_equal(dns_lookup(s, &client, "cluster.local", "web-0.headless", &m), 0);
	assert_int_equal(dns_addrs(&m, DNS_TYPE_A, addrs), 1);
	want = mesh_addr("10.0.0.6");
	assert_memory_equal(&addrs[0], &want, sizeof(want));
	assert_int_equal(dns_addrs(&m, DNS_TYPE_AAAA, addrs), 0);
	state_unref(s);
}

/* As of the cluster's own DNS; they are the Service's nevertheless. */
TEST(names_do_not_lead_to_external_addresses)
{
	struct cv_addr addrs[DNS_ADDRS_MAX], at = mesh_addr("198.51.100.1");
	struct cv_addr cluster = mesh_addr("10.96.0.4"), pod = mesh_addr("10.0.0.7");
	struct state *s = world();
	const struct service *v;
	struct dns_match m;

	assert_int_equal(dns_lookup(s, &client, "cluster.local", "lb", &m), 0);
	assert_int_equal(dns_addrs(&m, DNS_TYPE_A, addrs), 1);
	assert_memory_equal(&addrs[0], &cluster, sizeof(cluster));
	assert_int_equal(dns_addrs(&m, DNS_TYPE_AAAA, addrs), 0);
	assert_int_equal(dns_lookup(s, &client, "cluster.local", "lb-headless", &m), 0);
	assert_int_equal(dns_addrs(&m, DNS_TYPE_A, addrs), 1);
	assert_memory_equal(&addrs[0], &pod, sizeof(pod));
	v = state_service_by_addr(s, &at, "demo");
	assert_non_null(v);
	assert_string_equal(v->def->name, "lb");
	state_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found_as_written_and_as_lengthened),
		cmocka_unit_test(a_name_is_found_among_many_pods),
		cmocka_unit_test(the_pods_own_search_list_decides),
		cmocka_unit_test(a_domain_that_is_not_the_clusters_is_not_answered_for),
		cmocka_unit_test(the_longest_names_are_survived),
		cmocka_unit_test(addresses_are_of_the_family_asked_for),
		cmocka_unit_test(names_do_not_lead_to_external_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
