/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct-pods - a node with two pods, and policies between them. */
#include "ztunnel/direct.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/pod.h"

struct fixture {
	struct state_builder *b;
	struct pod src, dst;
};

static inline void pod_fill(struct pod *p, const char *name, const char *addr)
{
	memset(p, 0, sizeof(*p));
	(void)snprintf(p->uid, sizeof(p->uid), "Kubernetes//Pod/demo/%s", name);
	p->addrs[0] = mesh_addr(addr);
	p->addr_count = 1;
	p->own_ports[0] = 40001;
	p->own_port_count = 1;
}

static inline int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	assert_int_equal(state_builder_new("n1", &f.b), 0);
	mesh_put_workload(f.b, &(struct mesh_workload){
				       .name = "a", .account = "alice", .addrs = {"10.0.0.1"}});
	mesh_put_workload(f.b, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}});
	pod_fill(&f.src, "a", "10.0.0.1");
	pod_fill(&f.dst, "b", "10.0.0.2");
	state_builder_set_synced(f.b);
	*state = &f;
	return 0;
}

static inline int teardown(void **state)
{
	state_builder_free(((struct fixture *)*state)->b);
	return 0;
}

/* A DENY policy of the namespace with this one match. */
static inline void deny_put(struct fixture *f, Istio__Security__Match *match)
{
	Istio__Security__Match *matches[] = {match};
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT, *clauses[] = {&clause};
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};
	Istio__Security__Authorization m = ISTIO__SECURITY__AUTHORIZATION__INIT;

	clause.n_matches = 1;
	clause.matches = matches;
	rule.n_clauses = 1;
	rule.clauses = clauses;
	m.name = "p";
	m.namespace_ = "demo";
	m.scope = ISTIO__SECURITY__SCOPE__NAMESPACE;
	m.action = ISTIO__SECURITY__ACTION__DENY;
	m.n_rules = 1;
	m.rules = rules;
	mesh_put_policy(f->b, &m);
}

/* DENY of what comes from @principal, or from @src_ip, or to port 81. */
static inline void deny(struct fixture *f, const char *principal, bool has_src_ip)
{
	uint8_t ip[4] = {10, 9, 9, 9};
	uint32_t ports[] = {81};
	Istio__Security__Address addr = ISTIO__SECURITY__ADDRESS__INIT, *addrs[] = {&addr};
	Istio__Security__StringMatch text = ISTIO__SECURITY__STRING_MATCH__INIT, *texts[] = {&text};
	Istio__Security__Match match = ISTIO__SECURITY__MATCH__INIT;

	addr.address = (ProtobufCBinaryData){sizeof(ip), ip};
	addr.length = 32;
	text.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
	text.exact = (char *)principal;
	if (principal) {
		match.n_principals = 1;
		match.principals = texts;
	} else if (has_src_ip) {
		match.n_source_ips = 1;
		match.source_ips = addrs;
	} else {
		match.n_destination_ports = 1;
		match.destination_ports = ports;
	}
	deny_put(f, &match);
}

#define with(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
