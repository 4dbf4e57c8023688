/* SPDX-License-Identifier: Apache-2.0 */
/* node - what is read of a culvert.node.Node; a wrong one is told from one for which there is no
 * memory. */
#include "xds/node.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scarce-memory.h"
#include "userspace/lib/xds/node.pb-c.h"

static size_t pack(uint8_t packed[256], char *second, size_t addr_len)
{
	static uint8_t bytes[2][16] = {{10, 0, 0, 1}, {0xfd, 0, [15] = 1}};
	ProtobufCBinaryData addrs[] = {{addr_len, bytes[0]}, {16, bytes[1]}};
	char first[] = "10.1.2.3/24";
	char *ranges[] = {first, second};
	Culvert__Node__Node m = CULVERT__NODE__NODE__INIT;

	m.name = first;
	m.n_addresses = 2;
	m.addresses = addrs;
	m.n_pod_ranges = 2;
	m.pod_ranges = ranges;
	return culvert__node__node__pack(&m, packed);
}

static void addresses_and_ranges_are_read(void **state)
{
	char second[] = "fd00:1::7/64", text[CIDR_STRLEN];
	uint8_t packed[256];
	size_t len = pack(packed, second, 4);
	struct xds_node *n = NULL;
	struct cv_addr v4;

	assert_int_equal(xds_node_read(packed, len, &n), 0);
	assert_int_equal(n->addrs_count, 2);
	assert_int_equal(cv_addr_parse("10.0.0.1", &v4), 0);
	assert_true(cv_addr_equal(&n->addrs[0], &v4));
	assert_int_equal(n->ranges_count, 2);
	assert_string_equal(cidr_format(&n->ranges[0], text), "10.1.2.0/24");
	assert_string_equal(cidr_format(&n->ranges[1], text), "fd00:1::/64");
	xds_node_free(n);
	assert_int_equal(xds_node_read("", 0, &n), 0);
	assert_int_equal(n->addrs_count + n->ranges_count, 0);
	xds_node_free(n);
}

static void what_is_wrong_is_refused(void **state)
{
	char good[] = "fd00:1::/64", bad[] = "fd00:1::/129";
	struct xds_node *n = NULL;
	uint8_t packed[256];
	size_t len = pack(packed, bad, 4);

	assert_int_equal(xds_node_read(packed, len, &n), -EBADMSG);
	len = pack(packed, good, 5);
	assert_int_equal(xds_node_read(packed, len, &n), -EBADMSG);
	assert_int_equal(xds_node_read(packed, len - 1, &n), -EBADMSG);
	assert_null(n);
}

static void for_want_of_memory_it_is_not_wrong(void **state)
{
	char second[] = "fd00:1::/64";
	struct xds_node *n = NULL;
	uint8_t packed[256];
	size_t len = pack(packed, second, 4);
	int r = -ENOMEM;

	for (long k = 0; r == -ENOMEM; k++) {
		the_memory.left = k;
		r = xds_node_read(packed, len, &n);
		the_memory.left = -1;
	}
	assert_true(the_memory.has_failed);
	assert_int_equal(r, 0);
	xds_node_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_and_ranges_are_read),
		cmocka_unit_test(what_is_wrong_is_refused),
		cmocka_unit_test(for_want_of_memory_it_is_not_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
