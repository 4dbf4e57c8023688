/* SPDX-License-Identifier: Apache-2.0 */
/* vip - the same address for a host after a restart and at another replica, whatever the order in
 * which hosts come and go: who has cached one must never be led to another host. */
#include "model/vip.h"

#include <errno.h>
#include <stdlib.h>

#include "tests/unit/model/fixture.h"
#include "tests/unit/scarce-memory.h"

#define ENTRY                                                                                      \
	"apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: %s, namespace: " \
	"demo, creationTimestamp: '%s'}\nspec: {hosts: [h%d.example.com], resolution: STATIC, "    \
	"ports: [{number: 443, name: tls, protocol: TLS}]}\n---\n"
#define MOVED_SIZE 128
#define OLD        "2026-01-01T00:00:00Z"
#define YOUNG      "2026-02-01T00:00:00Z"
#define YOUNGEST   "2026-03-01T00:00:00Z"
#define CROWD      24 /* hosts of few numbers, so that whoever comes or goes is in others' way */
#define AGES       5
#define STEPS      1500

static const char *host_make(char host[32], int i)
{
	(void)snprintf(host, 32, "h%d.example.com", i);
	return host;
}

/* Where it is when nobody else is there. */
static struct cv_addr home_of(struct vip_pool *p, const char *host)
{
	struct cidr a[2];

	assert_int_equal(vip_get(p, host, NULL), 0);
	assert_int_equal(vip_addrs(p, host, a), 0);
	vip_put(p, host, NULL);
	return a[0].addr;
}

/* Two hosts that fall together. */
static void pair_find(int ret[2])
{
	struct vip_pool p = {0};
	struct map *seen = NULL;
	static int numbers[5000];
	char host[32];

	assert_int_equal(vip_pool_init(&p), 0);
	assert_int_equal(map_new(&seen), 0);
	for (int i = 0; i < 5000; i++) {
		struct cv_addr a = home_of(&p, host_make(host, i));
		const int *other = map_get(seen, &a, sizeof(a));

		numbers[i] = i;
		if (other) {
			ret[0] = *other;
			ret[1] = i;
			break;
		}
		assert_int_equal(map_put(seen, &a, sizeof(a), &numbers[i]), 0);
	}
	(void)map_free(seen);
	vip_pool_done(&p);
	assert_true(ret[1] > 0);
}

static void pair_make(char one[32], char two[32])
{
	int pair[2] = {0};

	pair_find(pair);
	(void)host_make(one, pair[0]);
	(void)host_make(two, pair[1]);
}

static void each_host_has_an_address_of_its_own(void **state)
{
	struct vip_pool p = {0};
	struct map *seen = NULL;
	char host[32], since[32];

	assert_int_equal(vip_pool_init(&p), 0);
	assert_int_equal(map_new(&seen), 0);
	for (int i = 0; i < 5000; i++) {
		struct cidr a[2];

		(void)snprintf(since, sizeof(since), "2026-01-01T%08dZ", i);
		(void)snprintf(host, sizeof(host), "h%d.example.com", i);
		assert_int_equal(vip_get(&p, host, since), 0);
		assert_int_equal(vip_get(&p, host, since), 0);
		assert_int_equal(vip_addrs(&p, host, a), 0);
		assert_null(map_get(seen, &a[0].addr, sizeof(a[0].addr)));
		assert_int_equal(map_put(seen, &a[0].addr, sizeof(a[0].addr), &p), 0);
		vip_put(&p, host, since);
		assert_int_equal(vip_addrs(&p, host, a), 0);
	}
	vip_put(&p, "h1.example.com", "2026-01-01T00000001Z");
	assert_true(vip_addrs(&p, "h1.example.com", (struct cidr[2]){{.len = 0}}) < 0);
	(void)map_free(seen);
	vip_pool_done(&p);
}

static bool is_same(const struct cidr *a, const struct cidr *b)
{
	return cv_addr_equal(&a[0].addr, &b[0].addr) && cv_addr_equal(&a[1].addr, &b[1].addr);
}

static void on_moved(void *arg, const char *host)
{
	size_t n = strlen(arg);

	(void)snprintf((char *)arg + n, MOVED_SIZE - n, "%s ", host);
}

static void the_older_of_two_that_fall_together_has_the_number(void **state)
{
	struct vip_pool p = {0};
	char old[32], young[32], moved[MOVED_SIZE] = "";
	struct cidr first[2], second[2], again[2];
	struct cv_addr home;

	pair_make(old, young);
	assert_int_equal(vip_pool_init(&p), 0);
	p.on_moved = on_moved;
	p.arg = moved;
	home = home_of(&p, old);
	assert_int_equal(vip_get(&p, old, OLD), 0);
	assert_int_equal(vip_get(&p, young, YOUNG), 0);
	assert_string_equal(moved, "");
	assert_int_equal(vip_addrs(&p, old, first), 0);
	assert_int_equal(vip_addrs(&p, young, second), 0);
	assert_memory_equal(&first[0].addr, &home, sizeof(home));
	vip_put(&p, young, YOUNG);
	vip_put(&p, old, OLD);
	/* the other way round */
	assert_int_equal(vip_get(&p, young, YOUNG), 0);
	assert_int_equal(vip_get(&p, old, OLD), 0);
	assert_non_null(strstr(moved, young));
	assert_null(strstr(moved, old));
	assert_int_equal(vip_addrs(&p, old, again), 0);
	assert_true(is_same(again, first));
	assert_int_equal(vip_addrs(&p, young, again), 0);
	assert_true(is_same(again, second));
	/* a second, older entry of the host makes it as old */
	assert_int_equal(vip_get(&p, young, "2025-01-01T00:00:00Z"), 0);
	assert_non_null(strstr(moved, old));
	assert_int_equal(vip_addrs(&p, young, again), 0);
	assert_true(is_same(again, first));
	vip_pool_done(&p);
}

static void who_came_first_does_not_matter_to_nodes(void **state)
{
	struct fixture *f = *state, *other = NULL;
	char old[512], young[512], name[64];
	int pair[2] = {0};

	assert_int_equal(fixture_setup((void **)&other), 0);
	pair_find(pair);
	(void)snprintf(old, sizeof(old), ENTRY, "z", OLD, pair[0]);
	(void)snprintf(young, sizeof(young), ENTRY, "a", YOUNG, pair[1]);
	(void)put(f, old);
	(void)put(f, young);
	(void)put(other, young);
	(void)put(other, old);
	for (size_t i = 0; i < ARRAY_SIZE(pair); i++) {
		const struct bytes *here, *there;

		(void)snprintf(name, sizeof(name), "demo/h%d.example.com", pair[i]);
		here = map_get_str(f->resources[XDS_ADDRESS], name);
		there = map_get_str(other->resources[XDS_ADDRESS], name);
		assert_int_equal(here->len, there->len);
		assert_memory_equal(here->data, there->data, here->len);
	}
	assert_int_equal(fixture_teardown((void **)&other), 0);
}

/* A crowd at both ends of the numbers: what has no room at the end begins again. */
static void crowd_find(char ret[CROWD][32])
{
	struct vip_pool p = {0};
	size_t n = 0;

	assert_int_equal(vip_pool_init(&p), 0);
	for (int i = 0; n < CROWD; i++) {
		struct cv_addr home = home_of(&p, host_make(ret[n], i));
		int number = home.bytes[14] << 8 | home.bytes[15];

		if (number <= 3 || number >= 65532)
			n++;
	}
	vip_pool_done(&p);
}

/** struct crowd - how many entries of each age each host has. */
struct crowd {
	char hosts[CROWD][32];
	int users[CROWD][AGES];
	bool is_told[CROWD];
};

static const char *age_make(char since[32], int age)
{
	if (age == AGES - 1)
		return NULL;
	(void)snprintf(since, 32, "2026-01-0%dT00:00:00Z", age + 1);
	return since;
}

static void on_moved_in_crowd(void *arg, const char *host)
{
	struct crowd *c = arg;

	for (size_t i = 0; i < CROWD; i++)
		c->is_told[i] |= strcmp(c->hosts[i], host) == 0;
}

/* A control plane that starts now. */
static void pool_start(struct vip_pool *p, const struct crowd *c)
{
	char since[32];

	assert_int_equal(vip_pool_init(p), 0);
	for (size_t i = 0; i < CROWD; i++)
		for (int age = 0; age < AGES; age++)
			for (int n = c->users[i][age]; n > 0; n--)
				assert_int_equal(vip_get(p, c->hosts[i], age_make(since, age)), 0);
}

static void addrs_of(const struct vip_pool *p, const struct crowd *c, struct cidr ret[CROWD][2])
{
	memset(ret, 0, CROWD * sizeof(ret[0]));
	for (size_t i = 0; i < CROWD; i++)
		if (vip_addrs(p, c->hosts[i], ret[i]) < 0)
			ret[i][0].len = 0;
}

/* One entry more or less. */
static void crowd_change(struct vip_pool *p, struct crowd *c)
{
	int i = rand() % CROWD, age = rand() % AGES;
	char since[32];

	if (c->users[i][age] && rand() % 4) {
		vip_put(p, c->hosts[i], age_make(since, age));
		c->users[i][age]--;
	} else {
		assert_int_equal(vip_get(p, c->hosts[i], age_make(since, age)), 0);
		c->users[i][age]++;
	}
}

static void what_came_and_went_does_not_matter(void **state)
{
	struct cidr before[CROWD][2], after[CROWD][2], started[CROWD][2];
	struct vip_pool p = {0}, fresh;
	struct crowd c = {.users = {{0}}};

	srand(7);
	crowd_find(c.hosts);
	assert_int_equal(vip_pool_init(&p), 0);
	p.on_moved = on_moved_in_crowd;
	p.arg = &c;
	for (int step = 0; step < STEPS; step++) {
		addrs_of(&p, &c, before);
		memset(c.is_told, 0, sizeof(c.is_told));
		crowd_change(&p, &c);
		addrs_of(&p, &c, after);
		fresh = (struct vip_pool){0};
		pool_start(&fresh, &c);
		addrs_of(&fresh, &c, started);
		vip_pool_done(&fresh);
		for (int i = 0; i < CROWD; i++) {
			if (!is_same(after[i], started[i]))
				fail_msg("step %d: %s is elsewhere after a start", step,
					 c.hosts[i]);
			if (before[i][0].len && after[i][0].len && !c.is_told[i] &&
			    !is_same(after[i], before[i]))
				fail_msg("step %d: nobody is told of %s", step, c.hosts[i]);
		}
	}
	vip_pool_done(&p);
}

/* Else the next one that comes would take it here, and be given another after a start. */
static void who_takes_the_place_of_a_host_that_is_gone_is_told(void **state)
{
	struct vip_pool p = {0};
	char old[32], young[32], moved[MOVED_SIZE] = "";
	struct cidr home[2], a[2];

	pair_make(old, young);
	assert_int_equal(vip_pool_init(&p), 0);
	assert_int_equal(vip_get(&p, old, OLD), 0);
	assert_int_equal(vip_get(&p, young, YOUNG), 0);
	assert_int_equal(vip_addrs(&p, old, home), 0);
	p.on_moved = on_moved;
	p.arg = moved;
	vip_put(&p, old, OLD);
	assert_int_equal(vip_addrs(&p, young, a), 0);
	assert_true(is_same(a, home));
	assert_non_null(strstr(moved, young));
	assert_int_equal(vip_get(&p, old, YOUNGEST), 0);
	assert_int_equal(vip_addrs(&p, young, a), 0);
	assert_true(is_same(a, home));
	vip_pool_done(&p);
}

static void a_host_is_as_old_as_the_oldest_entry_that_it_still_has(void **state)
{
	struct vip_pool p = {0};
	char one[32], two[32];
	struct cidr home[2], a[2];

	pair_make(one, two);
	assert_int_equal(vip_pool_init(&p), 0);
	assert_int_equal(vip_get(&p, one, OLD), 0);
	assert_int_equal(vip_addrs(&p, one, home), 0);
	assert_int_equal(vip_get(&p, one, YOUNGEST), 0);
	assert_int_equal(vip_get(&p, two, YOUNG), 0);
	vip_put(&p, one, OLD);
	assert_int_equal(vip_addrs(&p, two, a), 0);
	assert_true(is_same(a, home));
	vip_pool_done(&p);
}

static void a_host_that_goes_moves_the_other_at_nodes(void **state)
{
	struct fixture *f = *state, *other = NULL;
	char old[512], young[512], name[64];
	const struct bytes *here, *there;
	int pair[2] = {0};

	assert_int_equal(fixture_setup((void **)&other), 0);
	pair_find(pair);
	(void)snprintf(old, sizeof(old), ENTRY, "z", OLD, pair[0]);
	(void)snprintf(young, sizeof(young), ENTRY, "a", YOUNG, pair[1]);
	(void)put(f, old);
	(void)put(f, young);
	(void)drop(f, "ServiceEntry", "demo", "z");
	(void)put(other, young);
	(void)snprintf(name, sizeof(name), "demo/h%d.example.com", pair[1]);
	here = map_get_str(f->resources[XDS_ADDRESS], name);
	there = map_get_str(other->resources[XDS_ADDRESS], name);
	assert_int_equal(here->len, there->len);
	assert_memory_equal(here->data, there->data, here->len);
	assert_int_equal(fixture_teardown((void **)&other), 0);
}

static void without_memory_for_one_host_the_others_keep_theirs(void **state)
{
	struct vip_pool p = {0};
	char old[32], young[32];
	struct cidr before[2], a[2];
	int r = -ENOMEM;

	pair_make(old, young);
	assert_int_equal(vip_pool_init(&p), 0);
	assert_int_equal(vip_get(&p, young, YOUNG), 0);
	assert_int_equal(vip_addrs(&p, young, before), 0);
	for (long n = 0; r < 0; n++) {
		assert_int_equal(vip_addrs(&p, young, a), 0);
		assert_true(is_same(a, before));
		the_memory.left = n;
		r = vip_get(&p, old, OLD);
		the_memory.left = -1;
		assert_true(r == 0 || r == -ENOMEM);
	}
	assert_int_equal(vip_addrs(&p, old, a), 0);
	assert_true(is_same(a, before));
	assert_int_equal(vip_addrs(&p, young, a), 0);
	assert_false(is_same(a, before));
	vip_pool_done(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_host_has_an_address_of_its_own),
		cmocka_unit_test(the_older_of_two_that_fall_together_has_the_number),
		cmocka_unit_test(without_memory_for_one_host_the_others_keep_theirs),
		cmocka_unit_test(what_came_and_went_does_not_matter),
		cmocka_unit_test(who_takes_the_place_of_a_host_that_is_gone_is_told),
		cmocka_unit_test(a_host_is_as_old_as_the_oldest_entry_that_it_still_has),
		T(who_came_first_does_not_matter_to_nodes),
		T(a_host_that_goes_moves_the_other_at_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
