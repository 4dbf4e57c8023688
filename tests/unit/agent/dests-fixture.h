/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dests-fixture - resources put into dests, and every call that comes of it, as text. */
#include "userspace/agent/dests.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"
#include "net/cidr.h"
#include "userspace/agent/entries.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/types.h"

/* Every call in order: "+w10.0.0.1=demo/a -s10.96.0.1:80"; "~w10.0.0.1": gone, it lingers. */
static char calls[4096];

static inline void note(const char *sign, const struct cv_addr *addr, unsigned int port,
			const char *name)
{
	char text[CV_ADDR_STRLEN], one[160];

	(void)snprintf(one, sizeof(one), "%s%s:%u%s%s ", sign, cv_addr_format(addr, text), port,
		       name ? "=" : "", name ? name : "");
	(void)strncat(calls, one, sizeof(calls) - strlen(calls) - 1);
}

static const char *const letters = "wsrk";

/* "+w", "+s", "+r" for a range, "+k" for what is only known; "+R" for a range of the mesh, "+n" for
 * a node, "+o" for a workload outside the mesh, "+e" for a service that is an entry's alone. */
static inline void entry_note(char sign, enum dests_map map, const void *key,
			      const struct cv_dest *dest)
{
	const struct cv_service_key *service = key;
	const struct cv_range_key *range = key;
	char text[4] = {sign, letters[map]};

	if (map == DESTS_RANGES && dest && dest->flags == CV_DEST_MESH)
		text[1] = 'R';
	if (map == DESTS_WORKLOADS && dest && dest->flags != CV_DEST_MESH)
		text[1] = dest->flags ? 'n' : 'o';
	if (map == DESTS_SERVICES && dest && dest->flags & CV_DEST_OURS)
		text[1] = 'e';
	if (map == DESTS_WORKLOADS)
		note(text, key, 0, dest ? dest->name : NULL);
	else if (map == DESTS_RANGES)
		note(text, &range->addr, ntohs(range->port), dest ? dest->name : NULL);
	else
		note(text, &service->addr, ntohs(service->port), dest ? dest->name : NULL);
}

static inline void on_entry(void *arg, enum dests_map map, const void *key,
			    const struct cv_dest *dest)
{
	if (dest->flags & CV_DEST_GONE) {
		assert_int_equal(dest->flags, CV_DEST_MESH | CV_DEST_GONE);
		assert_memory_equal(dest->name, "gone: demo/", strlen("gone: demo/"));
		entry_note('~', map, key, NULL);
		return;
	}
	if (map == DESTS_WORKLOADS)
		assert_false(dest->flags & ~(__u32)(CV_DEST_MESH | CV_DEST_NODE));
	else if (map != DESTS_RANGES)
		assert_int_equal(dest->flags & ~(__u32)CV_DEST_OURS,
				 map == DESTS_REGISTERED ? 0 : CV_DEST_MESH);
	entry_note('+', map, key, dest);
}

static inline void on_gone(void *arg, enum dests_map map, const void *key)
{
	entry_note('-', map, key, NULL);
}

static inline void on_frontend(void *arg, const struct cv_service_key *key,
			       const struct cv_frontend *frontend)
{
}

static inline void on_frontend_gone(void *arg, const struct cv_service_key *key)
{
}

static const struct dests_ops ops = {on_entry, on_gone};
static const struct frontends_ops frontends_ops = {on_frontend, on_frontend_gone};
static const struct dests_config config = {
	.node = "n1", .ops = &ops, .frontends_ops = &frontends_ops};

static inline int put(struct dests *d, const char *name, Istio__Workload__Address *a)
{
	uint8_t packed[2048];

	return dests_put(d, name, packed, istio__workload__address__pack(a, packed));
}

/* One workload with one address and at most one service, which it serves at port 8080. */
static inline int put_workload_of(struct dests *d, const char *name, const char *ip,
				  const char *service, const Istio__Workload__Workload *like)
{
	Istio__Workload__Port port = ISTIO__WORKLOAD__PORT__INIT, *ports = &port;
	Istio__Workload__PortList port_list = ISTIO__WORKLOAD__PORT_LIST__INIT;
	Istio__Workload__Workload w = *like;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__WorkloadService s = ISTIO__WORKLOAD__WORKLOAD_SERVICE__INIT, *list = &s;
	ProtobufCBinaryData data;
	struct cv_addr addr;
	uint8_t bytes[16];

	assert_int_equal(cv_addr_parse(ip, &addr), 0);
	data.len = cv_addr_bytes(&addr, bytes);
	data.data = bytes;
	w.namespace_ = (char *)"demo";
	w.name = (char *)name;
	w.n_addresses = 1;
	w.addresses = &data;
	port.service_port = 80;
	port.target_port = 8080;
	port_list.n_ports = 1;
	port_list.ports = &ports;
	s.value = &port_list;
	s.key = (char *)service;
	w.n_services = service ? 1 : 0;
	w.services = &list;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	return put(d, name, &a);
}

static inline int put_workload(struct dests *d, const char *name, const char *ip, bool is_hbone,
			       const char *service)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;

	w.tunnel_protocol = is_hbone; /* NONE, HBONE */
	return put_workload_of(d, name, ip, service, &w);
}

/* @vip may be a range, or NULL. */
static inline int put_service_of(struct dests *d, const char *name, const char *vip, uint32_t port,
				 Istio__Workload__Service *like)
{
	Istio__Workload__Service s = *like;
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__NetworkAddress na = ISTIO__WORKLOAD__NETWORK_ADDRESS__INIT, *nas = &na;
	Istio__Workload__Port p = ISTIO__WORKLOAD__PORT__INIT, *ports = &p;
	struct cidr c = {0};
	uint8_t bytes[16];

	assert_true(!vip || cidr_parse(vip, &c) == 0);
	na.address = (ProtobufCBinaryData){cv_addr_bytes(&c.addr, bytes), bytes};
	if (c.len < 128) {
		na.prefix_case = ISTIO__WORKLOAD__NETWORK_ADDRESS__PREFIX_LENGTH;
		na.length = c.len - (na.address.len == 4 ? 96 : 0);
	}
	p.service_port = port;
	p.app_protocol = ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP;
	s.namespace_ = (char *)"demo";
	s.name = (char *)"web";
	if (!*s.hostname)
		s.hostname = (char *)"web.demo.svc.cluster.local";
	s.n_addresses = vip ? 1 : 0;
	s.n_ports = 1;
	s.addresses = &nas;
	s.ports = &ports;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_SERVICE;
	a.service = &s;
	return put(d, name, &a);
}

static inline int put_service(struct dests *d, const char *name, const char *vip, uint32_t port)
{
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;

	s.canonical = true;
	return put_service_of(d, name, vip, port, &s);
}

static inline int setup(void **state)
{
	calls[0] = '\0';
	return dests_new(&config, (struct dests **)state);
}

static inline int teardown(void **state)
{
	dests_free(*state);
	return 0;
}

#define assert_calls(expected)                                                                     \
	do {                                                                                       \
		assert_string_equal(calls, (expected));                                            \
		calls[0] = '\0';                                                                   \
	} while (0)

/* The list of extensions with this one; until the next call. */
static inline Istio__Workload__Extension **extension_of(const char *name, const ProtobufCMessage *m)
{
	static Istio__Workload__Extension e, *list = &e;
	static Google__Protobuf__Any any;
	static uint8_t packed[64];

	istio__workload__extension__init(&e);
	google__protobuf__any__init(&any);
	any.value = (ProtobufCBinaryData){protobuf_c_message_pack(m, packed), packed};
	e.name = (char *)(uintptr_t)name;
	e.config = &any;
	return &list;
}

static inline int put_service_at(struct dests *d, const char *name, uint32_t node_port)
{
	Istio__Workload__Service s = ISTIO__WORKLOAD__SERVICE__INIT;
	Culvert__Node__Service x = CULVERT__NODE__SERVICE__INIT;
	Culvert__Node__NodePort p = CULVERT__NODE__NODE_PORT__INIT, *ports = &p;

	p.node_port = node_port;
	x.n_node_ports = 1;
	x.node_ports = &ports;
	s.canonical = true;
	s.n_extensions = 1;
	s.extensions = extension_of(XDS_EXTENSION_SERVICE, &x.base);
	return put_service_of(d, name, "10.96.0.1", 80, &s);
}

/* At 172.18.0.1 of its node. */
static inline int put_host_port(struct dests *d, const char *name, const char *ip, bool is_hbone,
				uint32_t host_port)
{
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Culvert__Node__Workload x = CULVERT__NODE__WORKLOAD__INIT;
	Culvert__Node__HostPort p = CULVERT__NODE__HOST_PORT__INIT, *ports = &p;

	p.address = (ProtobufCBinaryData){4, (uint8_t *)"\xac\x12\x00\x01"};
	p.host_port = host_port;
	x.n_host_ports = 1;
	x.host_ports = &ports;
	w.n_extensions = 1;
	w.extensions = extension_of(XDS_EXTENSION_WORKLOAD, &x.base);
	w.tunnel_protocol = is_hbone;
	return put_workload_of(d, name, ip, NULL, &w);
}
