/* SPDX-License-Identifier: Apache-2.0 */
/* decode - defaults, limits, and bytes of any kind. */
#include "ztunnel/decode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/buf.h"
#include "net/addr.h"
#include "tests/unit/ztunnel/mesh.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/types.h"
#include "ztunnel/arena.h"
#include "ztunnel/policy.h"
#include "ztunnel/share.h"

typedef Istio__Workload__Address address_pb;
typedef Istio__Workload__Workload workload_pb;
typedef Istio__Workload__Service service_pb;

static struct decode_tables *tables;

static int decode(address_pb *a, struct decoded_address *ret, char *err, size_t err_size)
{
	uint8_t packed[MESH_PACKED_SIZE];

	istio__workload__address__pack(a, packed);
	return decode_address(tables, packed, istio__workload__address__get_packed_size(a), ret,
			      err, err_size);
}

static int decode_workload_pb(workload_pb *m, char *err, size_t err_size)
{
	address_pb a = ISTIO__WORKLOAD__ADDRESS__INIT;
	struct decoded_address out = {0};
	int r;

	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = m;
	r = decode(&a, &out, err, err_size);
	assert_int_equal(r == 0, out.workload != NULL);
	workload_unref(out.workload);
	return r;
}

static int decode_service_pb(service_pb *m, char *err, size_t err_size)
{
	address_pb a = ISTIO__WORKLOAD__ADDRESS__INIT;
	struct decoded_address out = {0};
	int r;

	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a.service = m;
	r = decode(&a, &out, err, err_size);
	assert_int_equal(r == 0, out.service != NULL);
	service_def_unref(out.service);
	return r;
}

TEST(empty_fields_get_istios_defaults)
{
	workload_pb m = ISTIO__WORKLOAD__WORKLOAD__INIT;
	address_pb a = ISTIO__WORKLOAD__ADDRESS__INIT;
	struct decoded_address out = {0};
	char err[256] = "";

	m.uid = "u";
	m.namespace_ = "demo";
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &m;
	assert_int_equal(decode(&a, &out, err, sizeof(err)), 0);
	assert_string_equal(out.workload->app->identity,
			    "spiffe://cluster.local/ns/demo/sa/default");
	assert_string_equal(out.workload->app->cluster, "Kubernetes");
	assert_string_equal(out.workload->place->node, "");
	assert_int_equal(out.workload->capacity, 1);
	assert_int_equal(out.workload->protocol, WORKLOAD_TCP);
	assert_true(out.workload->is_healthy);
	workload_unref(out.workload);
}

static void assert_workload_refused(workload_pb *m, const char *field)
{
	char err[256] = "";

	assert_int_equal(decode_workload_pb(m, err, sizeof(err)), -EINVAL);
	if (strncmp(err, field, strlen(field)) != 0)
		fail_msg("%s: %s", field, err);
}

static workload_pb good_workload(void)
{
	workload_pb m = ISTIO__WORKLOAD__WORKLOAD__INIT;

	m.uid = "u";
	m.namespace_ = "demo";
	return m;
}

TEST(bad_workloads_are_refused_and_the_field_is_named)
{
	Istio__Workload__GatewayAddress gateway = ISTIO__WORKLOAD__GATEWAY_ADDRESS__INIT;
	Istio__Workload__WorkloadService service = ISTIO__WORKLOAD__WORKLOAD_SERVICE__INIT,
					 *services[] = {&service};
	ProtobufCBinaryData addr = {5, (uint8_t *)"12345"};
	workload_pb m = good_workload();

	m.uid = "";
	assert_workload_refused(&m, "uid");
	m = good_workload();
	m.tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__LEGACY_ISTIO_MTLS;
	assert_workload_refused(&m, "tunnel_protocol");
	m.tunnel_protocol = (Istio__Workload__TunnelProtocol)77;
	assert_workload_refused(&m, "tunnel_protocol");
	m = good_workload();
	m.workload_type = (Istio__Workload__WorkloadType)77;
	assert_workload_refused(&m, "workload_type");
	m = good_workload();
	m.n_addresses = 1;
	m.addresses = &addr;
	assert_workload_refused(&m, "addresses");
	m = good_workload();
	m.service_account = "a/b";
	assert_workload_refused(&m, "service_account");
	m = good_workload();
	m.waypoint = &gateway;
	gateway.hbone_mtls_port = 15008;
	assert_workload_refused(&m, "waypoint");
	gateway.hbone_mtls_port = 70000;
	assert_workload_refused(&m, "waypoint.hbone_mtls_port");
	m = good_workload();
	m.n_services = 1;
	m.services = services;
	service.key = "no slash";
	assert_workload_refused(&m, "services");
}

/* 80 at 8080, 81 at what is no port, and one that is none. */
static void bad_ports_fill(Istio__Workload__Port *ports, Istio__Workload__Port **list, uint32_t bad)
{
	for (size_t i = 0; i < 3; i++) {
		istio__workload__port__init(&ports[i]);
		ports[i].app_protocol = ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP;
		list[i] = &ports[i];
	}
	ports[0].service_port = bad;
	ports[0].target_port = 1;
	ports[1].service_port = 80;
	ports[1].target_port = 8080;
	ports[2].service_port = 81;
	ports[2].target_port = bad;
}

static void assert_good_ports(const struct service_port *ports, size_t n)
{
	assert_int_equal(n, 2);
	assert_int_equal(ports[0].service_port, 80);
	assert_int_equal(ports[0].target_port, 8080);
	assert_int_equal(ports[1].service_port, 81);
	assert_int_equal(ports[1].target_port, 0);
}

static const uint32_t bad_ports[] = {0, 65536, 65616, UINT32_MAX};

/* Who is refused has no policies. */
TEST(a_port_that_is_none_is_no_reason_to_refuse_a_workload)
{
	Istio__Workload__WorkloadService service = ISTIO__WORKLOAD__WORKLOAD_SERVICE__INIT,
					 *services[] = {&service};
	Istio__Workload__PortList list = ISTIO__WORKLOAD__PORT_LIST__INIT;
	Istio__Workload__Port ports[3], *pointers[3];
	workload_pb m = good_workload();
	address_pb a = ISTIO__WORKLOAD__ADDRESS__INIT;
	char err[256] = "";

	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &m;
	m.n_services = 1;
	m.services = services;
	service.key = "a/b";
	service.value = &list;
	list.n_ports = 3;
	list.ports = pointers;
	for (size_t i = 0; i < ARRAY_SIZE(bad_ports); i++) {
		struct decoded_address out = {0};

		bad_ports_fill(ports, pointers, bad_ports[i]);
		assert_int_equal(decode(&a, &out, err, sizeof(err)), 0);
		assert_good_ports(out.workload->app->services[0].ports,
				  out.workload->app->services[0].ports_count);
		workload_unref(out.workload);
	}
}

TEST(a_port_that_is_none_is_no_reason_to_refuse_a_service)
{
	Istio__Workload__LoadBalancing lb = ISTIO__WORKLOAD__LOAD_BALANCING__INIT;
	Istio__Workload__Port ports[3], *pointers[3];
	service_pb m = ISTIO__WORKLOAD__SERVICE__INIT;
	address_pb a = ISTIO__WORKLOAD__ADDRESS__INIT;
	char err[256] = "";

	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a.service = &m;
	m.namespace_ = "demo";
	m.hostname = "web";
	m.n_ports = 3;
	m.ports = pointers;
	lb.mode = ISTIO__WORKLOAD__LOAD_BALANCING__MODE__PASSTHROUGH;
	m.load_balancing = &lb;
	for (size_t i = 0; i < ARRAY_SIZE(bad_ports); i++) {
		struct decoded_address out = {0};

		bad_ports_fill(ports, pointers, bad_ports[i]);
		assert_int_equal(decode(&a, &out, err, sizeof(err)), 0);
		assert_good_ports(out.service->ports, out.service->ports_count);
		/* nor is it another's, of any host */
		assert_int_equal(out.service->open_ports_count, 2);
		service_def_unref(out.service);
	}
}

TEST(bad_host_ports_are_refused)
{
	static const struct {
		size_t len;
		uint32_t host_port, target_port;
		bool is_good;
	} cases[] = {
		{4, 8080, 80, true},     {16, 65535, 65535, true}, {5, 8080, 80, false},
		{4, 0, 80, false},       {4, 65536, 80, false},    {4, 8080, 0, false},
		{4, 8080, 65536, false},
	};
	Culvert__Node__HostPort port = CULVERT__NODE__HOST_PORT__INIT, *ports = &port;
	Culvert__Node__Workload x = CULVERT__NODE__WORKLOAD__INIT;
	Istio__Workload__Extension e = ISTIO__WORKLOAD__EXTENSION__INIT, *es = &e;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	uint8_t bytes[16] = {172, 18, 0, 1}, packed[64];
	workload_pb m = good_workload();
	char err[256];

	x.n_host_ports = 1;
	x.host_ports = &ports;
	e.name = (char *)XDS_EXTENSION_WORKLOAD;
	e.config = &any;
	any.value.data = packed;
	m.n_extensions = 1;
	m.extensions = &es;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		port.address = (ProtobufCBinaryData){cases[i].len, bytes};
		port.host_port = cases[i].host_port;
		port.target_port = cases[i].target_port;
		any.value.len = culvert__node__workload__pack(&x, packed);
		if (cases[i].is_good)
			assert_int_equal(decode_workload_pb(&m, err, sizeof(err)), 0);
		else
			assert_workload_refused(&m, "host_ports");
	}
}

TEST(bad_services_are_refused)
{
	Istio__Workload__NetworkAddress vip = ISTIO__WORKLOAD__NETWORK_ADDRESS__INIT,
					*vips[] = {&vip};
	service_pb m = ISTIO__WORKLOAD__SERVICE__INIT;
	char err[256] = "";

	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), -EINVAL);
	m.namespace_ = "demo";
	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), -EINVAL);
	m.hostname = "h";
	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), 0);
	m.n_addresses = 1;
	m.addresses = vips;
	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), -EINVAL);
	vip.address = (ProtobufCBinaryData){4, (uint8_t *)"\x0a\0\0\0"};
	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), 0);
	vip.prefix_case = ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH;
	vip.length = 33;
	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), -EINVAL);
	vip.length = 8;
	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), 0);
	m.ip_families = (Istio__Workload__IPFamilies)9;
	assert_int_equal(decode_service_pb(&m, err, sizeof(err)), -EINVAL);
}

TEST(an_address_of_neither_kind_is_refused)
{
	address_pb a = ISTIO__WORKLOAD__ADDRESS__INIT;
	struct decoded_address out = {0};
	char err[256] = "";

	assert_int_equal(decode(&a, &out, err, sizeof(err)), -EINVAL);
	assert_int_equal(decode_address(tables, "\xff\xff", 2, &out, err, sizeof(err)), -EBADMSG);
	assert_null(out.workload);
	assert_null(out.service);
}

TEST(other_networks_are_not_reached_directly)
{
	uint8_t packed[MESH_PACKED_SIZE];
	struct decoded_address out = {0};
	char err[256] = "";
	size_t len = mesh_pack_workload(&(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}},
					packed);
	struct decode_tables *others = NULL;

	assert_int_equal(decode_tables_new("other", &others), 0);
	assert_int_equal(decode_address(others, packed, len, &out, err, sizeof(err)), 0);
	assert_int_equal(out.workload->addrs_count, 0);
	/* outlives what it was decoded with */
	decode_tables_free(others);
	assert_string_equal(out.workload->app->namespace_, "demo");
	workload_unref(out.workload);
}

static struct workload *decode_mesh(const struct mesh_workload *w)
{
	uint8_t packed[MESH_PACKED_SIZE];
	struct decoded_address out = {0};
	char err[256] = "";

	assert_int_equal(decode_address(tables, packed, mesh_pack_workload(w, packed), &out, err,
					sizeof(err)),
			 0);
	return out.workload;
}

TEST(what_workloads_have_in_common_is_held_once_and_nothing_else)
{
	struct mesh_workload w = {.name = "a",
				  .addrs = {"10.0.0.1"},
				  .services = {"demo/x"},
				  .ports = {80, 8080},
				  .policies = {"demo/p"},
				  .zone = "z1"};
	struct workload *a = decode_mesh(&w), *b, *c;

	w.addrs[0] = "10.0.0.2";
	b = decode_mesh(&w);
	assert_ptr_equal(a->app, b->app);
	assert_ptr_equal(a->place, b->place);
	assert_false(cv_addr_equal(&a->addrs[0], &b->addrs[0]));
	assert_int_equal(b->app->services[0].ports[0].target_port, 8080);
	w.ports[1] = 8081;
	w.zone = "z2";
	c = decode_mesh(&w);
	assert_ptr_not_equal(a->app, c->app);
	assert_ptr_not_equal(a->place, c->place);
	workload_unref(a);
	assert_string_equal(b->app->policies[0], "demo/p");
	w.policies[0] = "demo/q";
	a = decode_mesh(&w);
	assert_ptr_not_equal(a->app, c->app);
	assert_string_equal(a->app->policies[0], "demo/q");
	workload_unref(a);
	workload_unref(b);
	workload_unref(c);
}

/* Deployments come and go: what nobody has any more does not stay. */
TEST(what_is_shared_by_nobody_is_swept)
{
	_cleanup_(share_freep) struct share *t = NULL;
	struct shared *kept = NULL;

	assert_int_equal(share_new(&t), 0);
	for (uint32_t i = 0; i < 10000; i++) {
		_cleanup_(buf_resetp) struct buf key = {.limit = 64};
		struct arena *arena;
		struct shared *s;

		assert_int_equal(arena_new(sizeof(*s), &arena), 0);
		s = arena_alloc(arena, 1, sizeof(*s));
		atomic_init(&s->refs, 1);
		s->arena = arena;
		assert_int_equal(buf_append(&key, &i, sizeof(i)), 0);
		assert_int_equal(share_add(t, &key, s), 0);
		assert_ptr_equal(share_find(t, &key), s);
		if (i == 7)
			kept = s;
		else
			shared_unref(s);
	}
	assert_true(share_count(t) < 1000);
	shared_unref(kept);
}

/* A valid message with bytes flipped, cut and repeated: refused or taken, never a crash (run with
 * SAN=1). */
TEST(any_bytes_are_survived)
{
	struct mesh_workload w = {.name = "a",
				  .addrs = {"10.0.0.1", "fd00::1"},
				  .services = {"a/b"},
				  .ports = {1, 2},
				  .policies = {"x/y"},
				  .waypoint = "n/h",
				  .host_ports = {"172.18.0.1:80"},
				  .host_target = 80,
				  .zone = "z"};
	uint8_t good[MESH_PACKED_SIZE], bad[MESH_PACKED_SIZE];
	size_t len = mesh_pack_workload(&w, good);

	srand(9);
	for (int i = 0; i < 20000; i++) {
		struct decoded_address out = {0};
		struct policy *p = NULL;
		char err[256] = "";
		size_t n = (size_t)rand() % (len + 1);

		memcpy(bad, good, len);
		for (int k = rand() % 4; k >= 0; k--)
			bad[(size_t)rand() % len] = (uint8_t)rand();
		if (decode_address(tables, bad, n, &out, err, sizeof(err)) < 0)
			assert_true(err[0]);
		workload_unref(out.workload);
		service_def_unref(out.service);
		(void)!decode_policy("a/b", bad, n, &p, err, sizeof(err));
		assert_non_null(p);
		policy_unref(p);
	}
}

static int make_tables(void **state)
{
	return decode_tables_new("", &tables);
}

static int free_tables(void **state)
{
	tables = decode_tables_free(tables);
	return 0;
}

/* STRICT, byte for byte as istiod sends it: DENY whoever has no identity. */
static void a_policy_of_istiod_is_understood(void **state)
{
	static const char packed[] = "\x0a\x1d"
				     "istio_converted_static_strict\x12\x0c"
				     "istio-system\x18\x02\x20\x01\x2a\x08\x0a\x06\x12\x04"
				     "\x22\x02\x22";
	_cleanup_(policy_unrefp) struct policy *p = NULL;
	const struct policy_match *m;
	char err[256] = "";

	/* the last byte is the one that ends the text */
	assert_int_equal(decode_policy("istio-system/istio_converted_static_strict", packed,
				       sizeof(packed), &p, err, sizeof(err)),
			 0);
	assert_string_equal(err, "");
	assert_false(p->is_broken);
	assert_int_equal(p->scope, POLICY_WORKLOAD);
	assert_int_equal(p->action, POLICY_DENY);
	assert_int_equal(p->count, 1);
	assert_int_equal(p->rules[0].count, 1);
	assert_int_equal(p->rules[0].clauses[0].count, 1);
	m = &p->rules[0].clauses[0].matches[0];
	assert_int_equal(m->not_principals.count, 1);
	assert_int_equal(m->not_principals.items[0].kind, TEXT_PRESENT);
	assert_int_equal(m->principals.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_fields_get_istios_defaults),
		cmocka_unit_test(bad_workloads_are_refused_and_the_field_is_named),
		cmocka_unit_test(a_port_that_is_none_is_no_reason_to_refuse_a_workload),
		cmocka_unit_test(a_port_that_is_none_is_no_reason_to_refuse_a_service),
		cmocka_unit_test(bad_host_ports_are_refused),
		cmocka_unit_test(bad_services_are_refused),
		cmocka_unit_test(an_address_of_neither_kind_is_refused),
		cmocka_unit_test(other_networks_are_not_reached_directly),
		cmocka_unit_test(what_workloads_have_in_common_is_held_once_and_nothing_else),
		cmocka_unit_test(what_is_shared_by_nobody_is_swept),
		cmocka_unit_test(any_bytes_are_survived),
		cmocka_unit_test(a_policy_of_istiod_is_understood),
	};

	return cmocka_run_group_tests(tests, make_tables, free_tables);
}
