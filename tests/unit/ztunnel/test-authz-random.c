/* SPDX-License-Identifier: Apache-2.0 */
/* authz - the index beside a second, plain evaluator (reference.c) on random sets of policies and
 * connections, also while the policies change. */
#include "ztunnel/authz.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/ztunnel/random_policy.h"

#define SETS    2000
#define CONNS   500
#define UID     "Kubernetes//Pod/demo/a"
#define SET_MAX RANDOM_NAMES
#define CHANGES 3000
#define SAMPLE  48

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
		p->seen += state_policy_generation(s) != last;
		last = state_policy_generation(s);
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
	assert_true(p.seen > CHANGES / 100);
	state_unref(p.state);
	state_builder_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_evaluators_agree_on_a_million_decisions),
		cmocka_unit_test(each_answer_while_policies_change_is_that_of_one_whole_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
