/* SPDX-License-Identifier: Apache-2.0 */
/* direct - which connections may do without a tunnel, and how they are counted. */
#include "ztunnel/direct.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/authz.h"
#include "ztunnel/history.h"
#include "ztunnel/pod.h"
#include "ztunnel/telemetry.h"

struct fixture {
	struct state_builder *b;
	struct pod src, dst;
};

static void pod_fill(struct pod *p, const char *name, const char *addr)
{
	memset(p, 0, sizeof(*p));
	(void)snprintf(p->uid, sizeof(p->uid), "Kubernetes//Pod/demo/%s", name);
	p->addrs[0] = mesh_addr(addr);
	p->addr_count = 1;
	p->own_ports[0] = 40001;
	p->own_port_count = 1;
}

static int setup(void **state)
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

static int teardown(void **state)
{
	state_builder_free(((struct fixture *)*state)->b);
	return 0;
}

static uint32_t judge(struct fixture *f, const char *to)
{
	struct cv_sockaddr sa = mesh_sockaddr(to);
	struct state *s = mesh_build(f->b);
	uint32_t v = direct_judge(s, &f->src, &f->dst, &sa);

	state_unref(s);
	return v;
}

/* A DENY policy of the namespace with this one match. */
static void deny_put(struct fixture *f, Istio__Security__Match *match)
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
static void deny(struct fixture *f, const char *principal, bool has_src_ip)
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

/* DENY of what shows no identity, as STRICT comes. */
static void deny_unknown(struct fixture *f)
{
	Google__Protobuf__Empty present = GOOGLE__PROTOBUF__EMPTY__INIT;
	Istio__Security__StringMatch any = ISTIO__SECURITY__STRING_MATCH__INIT, *anys[] = {&any};
	Istio__Security__Match match = ISTIO__SECURITY__MATCH__INIT;

	any.match_type_case = ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_PRESENCE;
	any.presence = &present;
	match.n_not_principals = 1;
	match.not_principals = anys;
	deny_put(f, &match);
}

static void policy_decides_by_identity_and_port(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	deny(f, NULL, false);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge(f, "10.0.0.2:81"), ZDS_VERDICT_DENY);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_DENY);
}

static void where_a_policy_looks_at_addresses_ztunnel_has_each_connection(void **state)
{
	struct fixture *f = *state;

	deny(f, NULL, true);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ZTUNNELS);
}

/* Of a source, or of anyone: *@of_src says which the answer is about. */
static uint32_t judge_plaintext_of(struct fixture *f, const char *to, const char *from,
				   uint32_t *of_src)
{
	struct cv_sockaddr sa = mesh_sockaddr(to);
	struct state *s = mesh_build(f->b);
	struct cv_addr src = {0};
	uint32_t v;

	if (from)
		assert_int_equal(cv_addr_parse(from, &src), 0);
	assert_int_equal(direct_judge_plaintext(NULL, &f->dst, &sa, &src, of_src),
			 ZDS_VERDICT_NONE);
	assert_int_equal(direct_judge_plaintext(s, NULL, &sa, &src, of_src), ZDS_VERDICT_NONE);
	v = direct_judge_plaintext(s, &f->dst, &sa, &src, of_src);
	state_unref(s);
	return v;
}

static uint32_t judge_plaintext(struct fixture *f, const char *to)
{
	uint32_t of_src, v = judge_plaintext_of(f, to, NULL, &of_src);

	assert_int_equal(of_src, 0);
	return v;
}

static void plaintext_is_judged_for_anyone_or_not_at_all(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_plaintext(f, "10.0.0.2:81"), ZDS_VERDICT_ALLOW);
	deny(f, NULL, false);
	assert_int_equal(judge_plaintext(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_plaintext(f, "10.0.0.2:81"), ZDS_VERDICT_DENY);
	assert_int_equal(judge_plaintext(f, "10.0.0.2:15008"), ZDS_VERDICT_NONE);
	assert_int_equal(judge_plaintext(f, "10.0.0.1:81"), ZDS_VERDICT_NONE);
	deny(f, NULL, true); /* who it is from may count */
	assert_int_equal(judge_plaintext(f, "10.0.0.2:81"), ZDS_VERDICT_NONE);
}

static void plaintext_is_judged_by_its_source_where_a_policy_looks_at_it(void **state)
{
	struct fixture *f = *state;
	uint32_t of_src;

	deny(f, NULL, true);
	assert_int_equal(judge_plaintext_of(f, "10.0.0.2:80", "10.9.9.9", &of_src),
			 ZDS_VERDICT_DENY);
	assert_int_equal(of_src, 1);
	assert_int_equal(judge_plaintext_of(f, "10.0.0.2:80", "10.9.9.8", &of_src),
			 ZDS_VERDICT_ALLOW);
	assert_int_equal(of_src, 1);
}

/* Of an open connection; @of_src as direct_judge_open() has it. */
static uint32_t judge_open(struct fixture *f, enum zds_open open, const char *from, bool of_src)
{
	struct zds_verdict ask = {.dst = mesh_sockaddr("10.0.0.2:80"), .open = open};
	struct state *s = mesh_build(f->b);
	uint32_t v, is_of_src;

	assert_int_equal(cv_addr_parse(from, &ask.src), 0);
	v = direct_judge_open(s, open == ZDS_OPEN_LIVE ? &f->src : NULL, &f->dst, &ask, &is_of_src);
	assert_int_equal(is_of_src, of_src);
	state_unref(s);
	return v;
}

static void what_is_open_is_judged_whatever_new_ones_are_made_by(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", false), ZDS_VERDICT_ALLOW);
	deny(f, NULL, true);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.9.9.9", true), ZDS_VERDICT_DENY);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", false), ZDS_VERDICT_DENY);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b",
							.addrs = {"10.0.0.2"},
							.waypoint = "demo/way.example"});
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_DENY);
}

/* Its object has gone, or has not come: it is still who it was. */
static void what_a_pod_without_a_workload_has_open_is_judged_by_its_account(void **state)
{
	struct fixture *f = *state;
	struct zds_verdict ask = {.dst = mesh_sockaddr("10.0.0.2:80"), .open = ZDS_OPEN_LIVE};
	struct state *s;
	uint32_t of_src;

	f->src.uid[0] = 'X';
	(void)snprintf(f->src.namespace_, sizeof(f->src.namespace_), "demo");
	(void)snprintf(f->src.service_account, sizeof(f->src.service_account), "alice");
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.2", true), ZDS_VERDICT_ALLOW);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.2", true), ZDS_VERDICT_DENY);
	(void)snprintf(f->src.service_account, sizeof(f->src.service_account), "bob");
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	deny_unknown(f);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	f->src.service_account[0] = '\0'; /* an agent that could not say */
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", true), ZDS_VERDICT_DENY);
	s = mesh_build(f->b);
	assert_int_equal(direct_judge_open(s, NULL, &f->dst, &ask, &of_src), ZDS_VERDICT_NONE);
	state_unref(s);
}

/* Who it was and how it comes, now that its pod has left. */
static void what_a_client_leaves_open_is_judged_as_both(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	deny(f, "cluster.local/ns/demo/sa/alice", false);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_DENY);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT_NAMELESS, "10.0.0.1", true),
			 ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.7", true), ZDS_VERDICT_ALLOW);
	deny(f, NULL, true);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_ALLOW);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.9.9.9", true), ZDS_VERDICT_DENY);
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT_NAMELESS, "10.9.9.9", true), ZDS_VERDICT_DENY);
	deny_unknown(f); /* STRICT */
	assert_int_equal(judge_open(f, ZDS_OPEN_LEFT, "10.0.0.1", true), ZDS_VERDICT_DENY);
	assert_int_equal(judge_open(f, ZDS_OPEN_LIVE, "10.0.0.1", false), ZDS_VERDICT_ALLOW);
}

static void what_is_not_known_is_not_cached(void **state)
{
	struct fixture *f = *state;
	struct cv_sockaddr to = mesh_sockaddr("10.0.0.2:80");
	struct state *s = mesh_build(f->b);

	assert_int_equal(direct_judge(NULL, &f->src, &f->dst, &to), ZDS_VERDICT_NONE);
	assert_int_equal(direct_judge(s, NULL, &f->dst, &to), ZDS_VERDICT_NONE);
	assert_int_equal(direct_judge(s, &f->src, NULL, &to), ZDS_VERDICT_NONE);
	state_unref(s);
	/* Another's address, and one that is nobody's. */
	assert_int_equal(judge(f, "10.0.0.1:80"), ZDS_VERDICT_NONE);
	f->dst.addrs[0] = mesh_addr("10.0.0.3");
	assert_int_equal(judge(f, "10.0.0.3:80"), ZDS_VERDICT_NONE);
	pod_fill(&f->dst, "c", "10.0.0.2");
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_NONE);
}

/* What is said is still about one that was there under this name before. */
static void a_pod_made_anew_is_not_the_one_before_it(void **state)
{
	struct fixture *f = *state;
	const struct {
		const char *src, *dst;
		uint32_t verdict;
	} cases[] = {
		{"alice", "default", ZDS_VERDICT_ALLOW},
		{"bob", "default", ZDS_VERDICT_NONE},
		{"alice", "bob", ZDS_VERDICT_NONE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(f->src.service_account, sizeof(f->src.service_account), "%s",
			       cases[i].src);
		(void)snprintf(f->dst.service_account, sizeof(f->dst.service_account), "%s",
			       cases[i].dst);
		assert_int_equal(judge(f, "10.0.0.2:80"), cases[i].verdict);
	}
}

/* One that was made anew under its name may have other labels. */
static void a_pod_is_judged_by_its_own_policies_not_by_those_of_the_one_before(void **state)
{
	struct fixture *f = *state;
	struct mesh_workload b = {.name = "b", .addrs = {"10.0.0.2"}, .incarnation = 7};
	const struct cv_sockaddr to = mesh_sockaddr("10.0.0.2:80");
	uint32_t of_src;
	struct state *s;

	mesh_put_workload(f->b, &b);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	f->dst.incarnation = 7;
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	f->dst.incarnation = 8;
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_NONE);
	s = mesh_build(f->b);
	assert_int_equal(direct_judge_plaintext(s, &f->dst, &to, &(struct cv_addr){0}, &of_src),
			 ZDS_VERDICT_NONE);
	state_unref(s);
	/* until that is told; or by who does not tell it, as istiod */
	b.incarnation = 8;
	mesh_put_workload(f->b, &b);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
	b.incarnation = 0;
	mesh_put_workload(f->b, &b);
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
}

static void ztunnels_own_ports_are_not_for_it(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(judge(f, "10.0.0.2:40001"), ZDS_VERDICT_NONE);
	assert_int_equal(judge(f, "10.0.0.2:15008"), ZDS_VERDICT_NONE);
}

static void a_waypoint_or_no_tunnel_protocol_is_not_for_it(void **state)
{
	struct fixture *f = *state;

	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b",
							.addrs = {"10.0.0.2"},
							.waypoint = "demo/way.example"});
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ZTUNNELS);
	mesh_put_workload(
		f->b, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}, .is_tcp = true});
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_NONE);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b", .addrs = {"10.0.0.2"}});
	assert_int_equal(judge(f, "10.0.0.2:80"), ZDS_VERDICT_ALLOW);
}

static uint64_t generation(struct fixture *f)
{
	struct state *s = mesh_build(f->b);
	uint64_t g = state_policy_generation(s);

	state_unref(s);
	return g;
}

static void what_a_verdict_follows_from_changes_the_generation(void **state)
{
	struct fixture *f = *state;
	uint64_t g = generation(f);

	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "a", .account = "alice", .addrs = {"10.0.0.1"}});
	assert_int_equal(generation(f), g);
	mesh_put_workload(f->b, &(struct mesh_workload){
					.name = "a", .account = "bob", .addrs = {"10.0.0.1"}});
	assert_int_not_equal(generation(f), g);
	g = generation(f);
	mesh_put_workload(f->b, &(struct mesh_workload){.name = "b",
							.addrs = {"10.0.0.2"},
							.waypoint = "demo/way.example"});
	assert_int_not_equal(generation(f), g);
}

/* A connection between the fixture's pods, and what is told of it. */
struct told {
	struct zds_direct m;
	struct direct_news news;
	struct state *state;
	struct telemetry *telemetry;
	struct buf text;
};

static void told_begin(struct told *k, const struct fixture *f)
{
	*k = (struct told){.m = {.src = mesh_sockaddr("10.0.0.1:5000"),
				 .dst = mesh_sockaddr("10.0.0.2:80"),
				 .asked = mesh_sockaddr("10.0.0.2:80")},
			   .news = {.m = &k->m},
			   .state = mesh_build(f->b)};
	k->news.src = state_workload_by_uid(k->state, f->src.uid);
	k->news.dst = state_workload_by_uid(k->state, f->dst.uid);
	assert_non_null(k->news.src);
	assert_non_null(k->news.dst);
	assert_int_equal(telemetry_new(&k->telemetry), 0);
}

static void tell(struct told *k, enum zds_direct_what what)
{
	k->m.what = what;
	direct_report(k->telemetry, k->state, &k->news);
}

/* told_metrics() - once, until told_end(). */
static const char *told_metrics(struct told *k)
{
	assert_int_equal(telemetry_write(&k->telemetry, 1, 1, &k->text), 0);
	assert_int_equal(buf_append(&k->text, "", 1), 0);
	return (const char *)buf_head(&k->text);
}

static void told_end(struct told *k)
{
	state_unref(k->state);
	telemetry_freep(&k->telemetry);
	buf_resetp(&k->text);
}

static void it_is_counted_at_both_ends(void **state)
{
	const char *metrics;
	struct told k;

	told_begin(&k, *state);
	k.m.sent = 300;
	k.m.received = 500;
	tell(&k, ZDS_DIRECT_OPENED);
	k.m.new_sent = 100;
	tell(&k, ZDS_DIRECT_PROGRESS);
	k.m.new_sent = 200;
	k.m.new_received = 500;
	tell(&k, ZDS_DIRECT_CLOSED);
	k.news.src = NULL;
	k.m.error = ECONNREFUSED;
	tell(&k, ZDS_DIRECT_FAILED);
	metrics = told_metrics(&k);
	for (int i = 0; i < 2; i++) {
		char want[64];

		(void)snprintf(want, sizeof(want), "connections_opened_total{reporter=\"%s\"",
			       i ? "source" : "destination");
		assert_non_null(strstr(metrics, want));
	}
	assert_non_null(strstr(metrics, "} 300\n"));
	assert_non_null(strstr(metrics, "} 500\n"));
	assert_non_null(strstr(metrics, "connections_failed_total"));
	told_end(&k);
}

/* Of both ends' last connections. */
static const char *last_error(const struct telemetry *t, size_t back)
{
	json_t *list = json_array();
	static char text[128];
	uint64_t since = 0;
	const char *error;

	assert_int_equal(history_to_json(telemetry_history(t), list, &since), 0);
	assert_true(json_array_size(list) > back);
	error = json_string_value(
		json_object_get(json_array_get(list, json_array_size(list) - 1 - back), "error"));
	(void)snprintf(text, sizeof(text), "%s", error ? error : "");
	json_decref(list);
	return text;
}

/* As of a tunnelled one: an error in the log, no other labels. */
static void an_end_by_a_reset_is_told(void **state)
{
	const char *metrics;
	struct told k;

	told_begin(&k, *state);
	k.m.new_sent = 300;
	k.m.new_received = 500;
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_RESET);
	for (size_t back = 0; back < 2; back++)
		assert_string_equal(last_error(k.telemetry, back), "connection reset");
	tell(&k, ZDS_DIRECT_CLOSED);
	for (size_t back = 0; back < 2; back++)
		assert_string_equal(last_error(k.telemetry, back), "");
	metrics = told_metrics(&k);
	for (const char *said[] = {"} 2\n", "} 600\n", "} 1000\n", NULL}, **p = said; *p; p++)
		assert_non_null(strstr(metrics, *p));
	assert_null(strstr(metrics, "istio_tcp_connections_failed_total{"));
	assert_null(strstr(metrics, "response_flags=\"CONNECT\""));
	told_end(&k);
}

/* As of a tunnelled one: why it is stands where the policy is, and the client sees a reset. */
static void an_end_by_a_denial_names_the_policy(void **state)
{
	const char *metrics;
	struct told k;

	deny(*state, NULL, false); /* port 81 */
	told_begin(&k, *state);
	k.m.dst = mesh_sockaddr("10.0.0.2:81");
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_CUT);
	assert_string_equal(last_error(k.telemetry, 1), "connection reset");
	assert_string_equal(last_error(k.telemetry, 0),
			    "connection closed due to policy change: explicitly denied: demo/p");
	k.m.dst = mesh_sockaddr("10.0.0.2:80"); /* not denied any more */
	tell(&k, ZDS_DIRECT_OPENED);
	tell(&k, ZDS_DIRECT_CUT);
	assert_string_equal(last_error(k.telemetry, 0),
			    "connection closed due to policy change: denied at that moment");
	metrics = told_metrics(&k);
	metrics = strstr(metrics, "istio_tcp_connections_closed_total{");
	assert_non_null(metrics);
	assert_non_null(strstr(metrics, "response_flags=\"DENY\""));
	assert_null(strstr(metrics, "istio_tcp_connections_failed_total{"));
	told_end(&k);
}

static void one_that_was_never_established_is_told_in_a_tunnels_words(void **state)
{
	const char *const left = "the client left before the application answered";
	struct told k;

	told_begin(&k, *state);
	k.m.error = ECONNREFUSED;
	tell(&k, ZDS_DIRECT_FAILED);
	assert_string_equal(last_error(k.telemetry, 1), "http status: 503 Service Unavailable");
	assert_string_equal(last_error(k.telemetry, 0),
			    "connection failed: Connection refused (os error 111)");
	k.m.error = 0;
	tell(&k, ZDS_DIRECT_FAILED);
	for (size_t back = 0; back < 2; back++)
		assert_string_equal(last_error(k.telemetry, back), left);
	assert_non_null(strstr(told_metrics(&k), "response_flags=\"CONNECT\""));
	told_end(&k);
}

static void of_what_was_not_told_there_are_numbers(void **state)
{
	struct fixture *f = *state;
	const struct zds_direct m = {.dst = mesh_sockaddr("10.0.0.2:80"),
				     .asked = mesh_sockaddr("10.0.0.2:80"),
				     .opened = 41,
				     .closed = 40,
				     .failed = 2,
				     .new_sent = 300,
				     .new_received = 500,
				     .what = ZDS_DIRECT_UNTOLD};
	struct direct_news news = {.m = &m};
	_cleanup_(telemetry_freep) struct telemetry *t = NULL;
	_cleanup_(buf_resetp) struct buf text = {0};
	struct state *s = mesh_build(f->b);
	const char *const said[] = {"} 43\n", "} 40\n", "} 2\n", "} 300\n", "} 500\n"};

	news.src = state_workload_by_uid(s, f->src.uid);
	news.dst = state_workload_by_uid(s, f->dst.uid);
	assert_int_equal(telemetry_new(&t), 0);
	direct_report(t, s, &news);
	state_unref(s);
	assert_int_equal(telemetry_write(&t, 1, 1, &text), 0);
	assert_int_equal(buf_append(&text, "", 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
		const char *first = strstr((char *)buf_head(&text), said[i]);

		assert_non_null(first);
		assert_non_null(strstr(first + 1, said[i])); /* at the other end, too */
	}
	assert_non_null(strstr((char *)buf_head(&text), "response_flags=\"CONNECT\""));
}

#define with(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with(policy_decides_by_identity_and_port),
		with(where_a_policy_looks_at_addresses_ztunnel_has_each_connection),
		with(plaintext_is_judged_for_anyone_or_not_at_all),
		with(plaintext_is_judged_by_its_source_where_a_policy_looks_at_it),
		with(what_is_open_is_judged_whatever_new_ones_are_made_by),
		with(what_a_pod_without_a_workload_has_open_is_judged_by_its_account),
		with(what_a_client_leaves_open_is_judged_as_both),
		with(what_is_not_known_is_not_cached),
		with(a_pod_made_anew_is_not_the_one_before_it),
		with(a_pod_is_judged_by_its_own_policies_not_by_those_of_the_one_before),
		with(ztunnels_own_ports_are_not_for_it),
		with(a_waypoint_or_no_tunnel_protocol_is_not_for_it),
		with(what_a_verdict_follows_from_changes_the_generation),
		with(it_is_counted_at_both_ends),
		with(an_end_by_a_reset_is_told),
		with(an_end_by_a_denial_names_the_policy),
		with(one_that_was_never_established_is_told_in_a_tunnels_words),
		with(of_what_was_not_told_there_are_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
