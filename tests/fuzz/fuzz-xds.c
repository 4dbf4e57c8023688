/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-xds - resources from a control plane to the objects of ztunnel's snapshot, and to what the
 * agent keeps of them. */
#include "tests/fuzz/fuzz.h"
#include "userspace/agent/resource.h"
#include "ztunnel/decode.h"
#include "ztunnel/policy.h"
#include "ztunnel/settings.h"
#include "ztunnel/state.h"
#include "ztunnel/state_internal.h"

static void fuzz_address(const uint8_t *data, size_t size)
{
	struct decoded_address address = {0};
	static struct decode_tables *tables;
	char err[256] = "";

	if ((!tables && decode_tables_new("", &tables) < 0) ||
	    decode_address(tables, data, size, &address, err, sizeof(err)) < 0)
		return;
	if (address.workload)
		workload_unref(address.workload);
	if (address.service)
		service_def_unref(address.service);
}

/* The same bytes, by the agent, which is root. */
static void fuzz_resource(const uint8_t *data, size_t size)
{
	struct resource *r = NULL;

	if (resource_read(data, size, &r) == 0)
		(void)resource_free(r);
}

static void fuzz_policy(const uint8_t *data, size_t size)
{
	struct policy *policy = NULL;
	char err[256] = "";

	(void)!decode_policy("ns/name", data, size, &policy, err, sizeof(err));
	policy_unref(policy);
}

static void fuzz_settings(const uint8_t *data, size_t size)
{
	struct settings settings = {0};
	char err[256] = "";

	(void)!settings_decode(data, size, &settings, err, sizeof(err));
	settings_clear(&settings);
}

static void fuzz_node(const uint8_t *data, size_t size)
{
	static struct mesh_nodes *nodes;
	static struct hamt *table, *ranges;

	if ((table || hamt_new_versioned(&mesh_nodes_hamt_ops, &table) == 0) &&
	    (ranges || hamt_new_versioned(&mesh_nodes_hamt_ops, &ranges) == 0) &&
	    (nodes || mesh_nodes_new(table, ranges, &nodes) == 0))
		(void)!mesh_nodes_put(nodes, "n1", data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		fuzz_policy(data + 1, size - 1);
	else if (data[0] & 2)
		fuzz_settings(data + 1, size - 1);
	else if (data[0] & 4)
		fuzz_node(data + 1, size - 1);
	else {
		fuzz_address(data + 1, size - 1);
		fuzz_resource(data + 1, size - 1);
	}
	return 0;
}
