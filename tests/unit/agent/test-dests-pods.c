/* SPDX-License-Identifier: Apache-2.0 */
/* dests - what nodes give their pods addresses of. */
#include "userspace/agent/dests.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net/cidr.h"
#include "userspace/lib/xds/node.pb-c.h"

/* Every call in order, as text: "+10.244.1.0/24 -fd00:1::/64". */
static char calls[1024];

static void note(char sign, enum dests_map map, const void *key)
{
	const struct cv_range_key *k = key;
	struct cidr c = {.addr = k->addr, .len = (uint8_t)(k->prefix_len - CV_RANGE_PREFIX)};
	char text[CIDR_STRLEN], one[CIDR_STRLEN + 4];

	assert_int_equal(map, DESTS_RANGES);
	assert_int_equal(k->port, 0);
	assert_int_equal(k->is_v4, cv_addr_is_v4(&k->addr));
	(void)snprintf(one, sizeof(one), "%c%s ", sign, cidr_format(&c, text));
	(void)strncat(calls, one, sizeof(calls) - strlen(calls) - 1);
}

static void on_entry(void *arg, enum dests_map map, const void *key, const struct cv_dest *dest)
{
	assert_int_equal(dest->flags, CV_DEST_NODE);
	note('+', map, key);
}

static void on_gone(void *arg, enum dests_map map, const void *key)
{
	note('-', map, key);
}

static int setup(void **state)
{
	static const struct dests_ops ops = {.on_entry = on_entry, .on_gone = on_gone};
	static const struct frontends_ops none;
	const struct dests_config config = {.node = "n1", .ops = &ops, .frontends_ops = &none};
	struct dests *d = NULL;

	calls[0] = '\0';
	if (dests_new(&config, &d) < 0)
		return -1;
	*state = d;
	return 0;
}

static int teardown(void **state)
{
	dests_free(*state);
	return 0;
}

static int put(struct dests *d, const char *node, const char *range, const char *other)
{
	Culvert__Node__Node m = CULVERT__NODE__NODE__INIT;
	char *ranges[] = {(char *)(uintptr_t)range, (char *)(uintptr_t)other};
	uint8_t packed[256];

	m.name = (char *)(uintptr_t)node;
	m.n_pod_ranges = other ? 2 : 1;
	m.pod_ranges = ranges;
	return dests_put_node(d, node, packed, culvert__node__node__pack(&m, packed));
}

#define assert_calls(expected)                                                                     \
	do {                                                                                       \
		assert_string_equal(calls, (expected));                                            \
		calls[0] = '\0';                                                                   \
	} while (0)

static void what_pods_have_their_addresses_of_is_at_no_port(void **state)
{
	struct dests *d = *state;

	assert_int_equal(put(d, "n1", "10.244.1.9/24", "fd00:1::/64"), 0);
	assert_calls("+10.244.1.0/24 +fd00:1::/64 ");
	assert_int_equal(put(d, "n1", "10.244.1.0/33", NULL), -EBADMSG);
	assert_int_equal(put(d, "n2", "10.244.1.0/24", NULL), 0);
	assert_calls("+10.244.1.0/24 ");
	assert_int_equal(put(d, "n1", "10.244.2.0/24", NULL), 0);
	assert_calls("+10.244.2.0/24 -fd00:1::/64 ");
	dests_remove_node(d, "n1");
	assert_calls("-10.244.2.0/24 ");
	dests_remove_node(d, "n2");
	assert_calls("-10.244.1.0/24 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_pods_have_their_addresses_of_is_at_no_port,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
