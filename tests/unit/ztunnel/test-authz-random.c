/* SPDX-License-Identifier: Apache-2.0 */
/* authz - the index beside a second, plain evaluator (reference.c) on random sets of policies and
 * connections, also while the policies change; and what a decision costs. */
#include "ztunnel/authz.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/ztunnel/random_policy.h"

#define SETS        2000
#define CONNS       500
#define UID         "Kubernetes//Pod/demo/a"
#define SET_MAX     RANDOM_NAMES
#define CHANGES     3000
#define SAMPLE      48
#define BENCH_LOOPS 20000

static struct random_memory memories[SET_MAX];

/* A workload that names those of the set that are selector-scoped, up to a few. */
static void put_workload(struct state_builder *b, const struct ref_policy *set, size_t n,
			 char names[REF_NAMED_MAX][128], const char *ret[REF_NAMED_MAX + 1])
{
	struct mesh_workload w = {.name = "a", .addrs = {"10.0.0.1"}};
	size_t count = 0;

	for (size_t i = 0; i < n && count < REF_NAMED_MAX; i++) {
		if (set[i].m->scope != ISTIO__SECURITY__SCOPE__WORKLOAD_SELECTOR ||
		    random_next(4) == 0)
			continue;
		(void)snprintf(names[count], sizeof(names[count]), "%s/%s", set[i].m->namespace_,
			       set[i].m->name);
		w.policies[count] = ret[count] = names[count];
		count++;
	}
	ret[count] = NULL;
	mesh_put_workload(b, &w);
}

static struct ref_answer ask(const struct state *s, const struct authz_conn *c)
{
	const struct workload *w = state_workload_by_uid(s, UID);
	struct authz_verdict v;
	struct authz_notes notes;

	authz_check(s, w, c, &v);
	authz_notes(s, w, c, &notes);
	return (struct ref_answer){.is_allowed = v.is_allowed,
				   .is_dry_denied = notes.dry_run == AUTHZ_DRY_RUN_DENIED,
				   .is_audited = notes.audit_policy};
}

static bool is_same(const struct ref_answer *a, const struct ref_answer *b)
{
	return a->is_allowed == b->is_allowed && a->is_dry_denied == b->is_dry_denied &&
	       a->is_audited == b->is_audited;
}

/* Some sets are made by way of another, so that replacing and removing count too. */
static size_t make_set(struct state_builder *b, struct ref_policy *set)
{
	size_t n = random_next(SET_MAX + 1);

	for (size_t i = 0; i < n; i++) {
		char name[128];

		for (uint32_t k = random_next(2); k > 0; k--) {
			set[i] = random_policy(&memories[i], (uint32_t)i);
			random_put(b, &set[i]);
			(void)snprintf(name, sizeof(name), "%s/%s", set[i].m->namespace_,
				       set[i].m->name);
		}
		if (set[i].m && random_next(2))
			assert_int_equal(state_builder_del_policy(b, name), 0);
		else if (set[i].m)
			continue;
		set[i] = random_policy(&memories[i], (uint32_t)i);
		random_put(b, &set[i]);
	}
	return n;
}

TEST(both_evaluators_agree_on_a_million_decisions)
{
	size_t allowed = 0, dry = 0, audited = 0;

	for (int i = 0; i < SETS; i++) {
		struct ref_policy set[SET_MAX] = {0};
		struct state_builder *b = NULL;
		const char *named[REF_NAMED_MAX + 1];
		char names[REF_NAMED_MAX][128];
		struct state *s;
		size_t n;

		/* of this node, where its policies are an index; of another, a list */
		assert_int_equal(state_builder_new(i % 8 ? "n1" : "n9", &b), 0);
		n = make_set(b, set);
		/* by way of another list */
		put_workload(b, set, n, names, named);
		put_workload(b, set, n, names, named);
		s = mesh_build(b);
		for (int k = 0; k < CONNS; k++) {
			struct ref_answer want, got;
			struct authz_conn conn;
			struct ref_conn c;
			char id[128];

			random_conn(&c, &conn, id);
			memcpy(c.dst_policies, named, sizeof(named));
			want = ref_check(set, n, &c);
			got = ask(s, &conn);
			if (!is_same(&want, &got))
				fail_msg("set %d, connection %d (%s): wanted %d %d %d, got %d %d "
					 "%d",
					 i, k, c.principal, want.is_allowed, want.is_dry_denied,
					 want.is_audited, got.is_allowed, got.is_dry_denied,
					 got.is_audited);
			allowed += want.is_allowed;
			dry += want.is_dry_denied;
			audited += want.is_audited;
		}
		state_unref(s);
		state_builder_free(b);
	}
	/* the world is small enough for the comparison to mean something */
	assert_true(allowed > SETS * CONNS / 20 && allowed < SETS * CONNS * 19ULL / 20);
	assert_true(dry > SETS * CONNS / 20 && audited > SETS * CONNS / 20);
}

/* What is published: a snapshot, and what the reference says about each connection of the sample.
 */
struct published {
	pthread_mutex_t lock;
	struct state *state;
	struct ref_answer want[SAMPLE];
	bool is_over;
	size_t checked, wrong, seen; /* of the reader */
	struct authz_conn conns[SAMPLE];
};

static void *reader(void *arg)
{
	struct published *p = arg;
	uint64_t last = 0;
	bool is_over = false;

	while (!is_over) {
		struct ref_answer want[SAMPLE];
		struct state *s;

		(void)pthread_mutex_lock(&p->lock);
		s = state_ref(p->state);
		memcpy(want, p->want, sizeof(want));
		is_over = p->is_over;
		(void)pthread_mutex_unlock(&p->lock);
		p->seen += state_generation(s) != last;
		last = state_generation(s);
		for (int i = 0; i < SAMPLE; i++) {
			struct ref_answer got = ask(s, &p->conns[i]);

			p->checked++;
			p->wrong += !is_same(&got, &want[i]);
		}
		state_unref(s);
	}
	return NULL;
}

static void publish(struct published *p, struct state *s, const struct ref_answer *want)
{
	(void)pthread_mutex_lock(&p->lock);
	state_unref(p->state);
	p->state = s;
	memcpy(p->want, want, sizeof(p->want));
	(void)pthread_mutex_unlock(&p->lock);
}

/* One policy comes, goes or is replaced; the others are what they were. */
static void change_one(struct state_builder *b, struct ref_policy *set, size_t *n)
{
	uint32_t at = random_next(SET_MAX);
	char name[128];

	if (at < *n) {
		(void)snprintf(name, sizeof(name), "%s/%s", set[at].m->namespace_, set[at].m->name);
		set[at] = random_policy(&memories[at], at);
		if (strncmp(name, set[at].m->namespace_, strlen(set[at].m->namespace_)) != 0)
			assert_int_equal(state_builder_del_policy(b, name), 0);
		random_put(b, &set[at]);
		return;
	}
	set[*n] = random_policy(&memories[*n], (uint32_t)*n);
	random_put(b, &set[(*n)++]);
}

TEST(each_answer_while_policies_change_is_that_of_one_whole_set)
{
	static struct ref_conn conns[SAMPLE];
	static char ids[SAMPLE][128];
	struct published p = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct ref_policy set[SET_MAX] = {0};
	struct ref_answer want[SAMPLE];
	struct state_builder *b = NULL;
	pthread_t thread;
	size_t n = 0;

	assert_int_equal(state_builder_new("n1", &b), 0);
	for (int i = 0; i < SAMPLE; i++)
		random_conn(&conns[i], &p.conns[i], ids[i]);
	for (int step = 0; step < CHANGES; step++) {
		const char *named[REF_NAMED_MAX + 1];
		char names[REF_NAMED_MAX][128];

		change_one(b, set, &n);
		put_workload(b, set, n, names, named);
		for (int i = 0; i < SAMPLE; i++) {
			memcpy(conns[i].dst_policies, named, sizeof(named));
			want[i] = ref_check(set, n, &conns[i]);
		}
		publish(&p, mesh_build(b), want);
		/* let the reader in */
		if (step % 4 == 0)
			(void)usleep(100);
		if (step == 0)
			assert_int_equal(pthread_create(&thread, NULL, reader, &p), 0);
	}
	(void)pthread_mutex_lock(&p.lock);
	p.is_over = true;
	(void)pthread_mutex_unlock(&p.lock);
	(void)pthread_join(thread, NULL);
	print_message("%zu decisions on %zu of %d sets\n", p.checked, p.seen, CHANGES);
	assert_int_equal(p.wrong, 0);
	assert_true(p.checked > SAMPLE);
	state_unref(p.state);
	state_builder_free(b);
}

/* What a decision costs. */

static void bench_put(struct state_builder *b, uint32_t number)
{
	Istio__Security__Authorization a = ISTIO__SECURITY__AUTHORIZATION__INIT;
	Istio__Security__Rule rule = ISTIO__SECURITY__RULE__INIT, *rules[] = {&rule};
	Istio__Security__Clause clause = ISTIO__SECURITY__CLAUSE__INIT, *clauses[] = {&clause};
	Istio__Security__Match m = ISTIO__SECURITY__MATCH__INIT, *matches[] = {&m};
	Istio__Security__StringMatch t = ISTIO__SECURITY__STRING_MATCH__INIT, *list[] = {&t};
	Istio__Security__Address c = ISTIO__SECURITY__ADDRESS__INIT, *cidrs[] = {&c};
	uint8_t bytes[4] = {10, 77, (uint8_t)(number >> 8), (uint8_t)number};
	uint32_t port = 1000 + number % 60000;
	char name[32], text[64];

	(void)snprintf(name, sizeof(name), "bench%u", number);
	(void)snprintf(text, sizeof(text), "cluster.local/ns/n%u/sa/s%u", number % 97, number);
	a.name = name;
	a.namespace_ = number % 2 ? "demo" : "istio-system";
	a.scope = number % 2 ? ISTIO__SECURITY__SCOPE__NAMESPACE : ISTIO__SECURITY__SCOPE__GLOBAL;
	a.action = number % 3 ? ISTIO__SECURITY__ACTION__DENY : ISTIO__SECURITY__ACTION__ALLOW;
	a.n_rules = rule.n_clauses = clause.n_matches = 1;
	a.rules = rules;
	rule.clauses = clauses;
	clause.matches = matches;
	t.match_type_case = number % 5 == 4 ? ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_SUFFIX
					    : ISTIO__SECURITY__STRING_MATCH__MATCH_TYPE_EXACT;
	t.exact = text;
	c.address = (ProtobufCBinaryData){4, bytes};
	c.length = 32;
	if (number % 5 == 0) {
		m.n_source_ips = 1;
		m.source_ips = cidrs;
	} else if (number % 5 == 1) {
		m.n_destination_ports = 1;
		m.destination_ports = &port;
	} else {
		m.n_principals = 1;
		m.principals = list;
	}
	mesh_put_policy(b, &a);
}

static double now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

TEST(what_a_decision_costs_is_printed)
{
	const struct authz_conn conn = {.src_identity = "spiffe://cluster.local/ns/demo/sa/alice",
					.src = mesh_sockaddr("10.0.0.9:40000"),
					.dst = mesh_sockaddr("10.0.0.1:80")};
	struct state_builder *b = NULL;
	uint32_t n = 0;

	assert_int_equal(state_builder_new("n1", &b), 0);
	mesh_put_workload(b, &(struct mesh_workload){.name = "a", .addrs = {"10.0.0.1"}});
	for (uint32_t size = 10; size <= 10000; size *= 10) {
		const struct workload *w;
		struct authz_verdict v;
		double begin = now_us(), made;
		uint32_t before = n;
		struct state *s;

		while (n < size)
			bench_put(b, n++);
		made = now_us();
		s = mesh_build(b);
		w = state_workload_by_uid(s, UID);
		print_message("%u policies: %.1f us to add one, ", size,
			      (made - begin) / (size - before));
		begin = now_us();
		for (int i = 0; i < BENCH_LOOPS; i++)
			authz_check(s, w, &conn, &v);
		print_message("%.2f us for a decision\n", (now_us() - begin) / BENCH_LOOPS);
		assert_false(v.is_allowed);
		state_unref(s);
	}
	state_builder_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_evaluators_agree_on_a_million_decisions),
		cmocka_unit_test(each_answer_while_policies_change_is_that_of_one_whole_set),
		cmocka_unit_test(what_a_decision_costs_is_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
