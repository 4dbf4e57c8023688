/* SPDX-License-Identifier: Apache-2.0 */
/* dests - memory that ends, at whichever allocation: said as that, not as a mistake of the control
 * plane's, which would not send it again. */
#include "tests/unit/agent/dests-fixture.h"

#include "tests/unit/scarce-memory.h"

static size_t pack_workload(uint8_t packed[512])
{
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Istio__Workload__Extension e = ISTIO__WORKLOAD__EXTENSION__INIT, *extensions = &e;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Culvert__Node__Workload x = CULVERT__NODE__WORKLOAD__INIT;
	Culvert__Node__HostPort port = CULVERT__NODE__HOST_PORT__INIT, *ports = &port;
	uint8_t inner[128], bytes[] = {10, 0, 0, 1};
	ProtobufCBinaryData addr = {sizeof(bytes), bytes};

	port.address = addr;
	port.host_port = 80;
	x.n_host_ports = 1;
	x.host_ports = &ports;
	any.value = (ProtobufCBinaryData){culvert__node__workload__pack(&x, inner), inner};
	e.name = (char *)(uintptr_t)XDS_EXTENSION_WORKLOAD;
	e.config = &any;
	w.name = w.namespace_ = (char *)(uintptr_t) "demo";
	w.tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	w.n_addresses = 1;
	w.addresses = &addr;
	w.n_extensions = 1;
	w.extensions = &extensions;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	return istio__workload__address__pack(&a, packed);
}

static size_t pack_service(uint8_t packed[512])
{
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	Istio__Workload__Extension e = ISTIO__WORKLOAD__EXTENSION__INIT, *extensions = &e;
	Istio__Workload__NetworkAddress vip = ISTIO__WORKLOAD__NETWORK_ADDRESS__INIT, *vips = &vip;
	Istio__Workload__Port port = ISTIO__WORKLOAD__PORT__INIT, *ports = &port;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT;
	Culvert__Node__NodePort node_port = CULVERT__NODE__NODE_PORT__INIT,
				*node_ports = &node_port;
	uint8_t inner[128], bytes[] = {10, 96, 0, 1};

	node_port.node_port = 30000;
	x.n_node_ports = 1;
	x.node_ports = &node_ports;
	any.value = (ProtobufCBinaryData){culvert__node__service__pack(&x, inner), inner};
	e.name = (char *)(uintptr_t)XDS_EXTENSION_SERVICE;
	e.config = &any;
	vip.address = (ProtobufCBinaryData){sizeof(bytes), bytes};
	port.service_port = 80;
	s.name = s.namespace_ = s.hostname = (char *)(uintptr_t) "demo";
	s.n_addresses = 1;
	s.addresses = &vips;
	s.n_ports = 1;
	s.ports = &ports;
	s.n_extensions = 1;
	s.extensions = &extensions;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a.service = &s;
	return istio__workload__address__pack(&a, packed);
}

static size_t count_of(char sign)
{
	size_t n = 0;

	for (const char *p = calls; *p; p++)
		n += *p == sign;
	return n;
}

/* Put once for each allocation that it takes, until there is enough memory. */
static void put_in_the_end(size_t (*pack)(uint8_t packed[512]),
			   int (*put_one)(struct dests *d, const char *name, const void *packed,
					  size_t len))
{
	uint8_t packed[512];
	size_t len = pack(packed);
	int r = -ENOMEM;

	for (long k = 0; r == -ENOMEM; k++) {
		struct dests *d = NULL;

		assert_int_equal(dests_new(&config, &d), 0);
		the_memory.left = k;
		r = put_one(d, "demo", packed, len);
		the_memory.left = -1;
		/* whole or not at all: what was shown and not counted would never go */
		assert_true(r == 0 || !calls[0]);
		dests_remove(d, "demo");
		dests_remove_node(d, "demo");
		dests_end(d, UINT64_MAX, 100);
		assert_int_equal(count_of('+'), count_of('-'));
		assert_true(r < 0 || count_of('+') > 0);
		calls[0] = '\0';
		dests_free(d);
	}
	assert_int_equal(r, 0);
}

static size_t pack_node(uint8_t packed[512])
{
	Culvert__Node__Node m = CULVERT__NODE__NODE__INIT;
	uint8_t bytes[] = {10, 0, 0, 1};
	ProtobufCBinaryData addr = {sizeof(bytes), bytes};
	char range[] = "10.1.0.0/24", *ranges = range;

	m.name = range;
	m.n_addresses = 1;
	m.addresses = &addr;
	m.n_pod_ranges = 1;
	m.pod_ranges = &ranges;
	return culvert__node__node__pack(&m, packed);
}

static void for_want_of_memory_nothing_is_taken_for_a_wrong_one(void **state)
{
	put_in_the_end(pack_workload, dests_put);
	put_in_the_end(pack_service, dests_put);
	put_in_the_end(pack_node, dests_put_node);
	assert_true(the_memory.has_failed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(for_want_of_memory_nothing_is_taken_for_a_wrong_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
