/* SPDX-License-Identifier: Apache-2.0 */
/* mesh - when the maps count as whole, and as current: not before all has come on one stream. */
#include "userspace/agent/mesh.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "userspace/lib/xds/workload.pb-c.h"
#include "xds/client.h"
#include "xds/client_id.h"

/* What stands for the client and the kernel. */
static struct {
	const struct xds_ops *ops;
	void *arg;
	enum xds_part part;
	bool is_full; /* the maps of destinations */
	__u64 fresh_until;
	char said[256]; /* by the mesh */
	char id[128];
} the;

int __wrap_xds_client_new(const struct xds_client_config *config, struct xds_client **ret);
struct xds_client *__wrap_xds_client_free(struct xds_client *c);
enum xds_part __wrap_xds_client_part(const struct xds_client *c);
int __wrap_datapath_map_fd(const struct datapath *d, enum datapath_map map);
int __wrap_datapath_put(struct datapath *d, enum datapath_map map, const void *key,
			const void *value);
int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags);
int __wrap_bpf_map_delete_elem(int fd, const void *key);
int __wrap_bpf_map_get_next_key(int fd, const void *key, void *next);

int __wrap_xds_client_new(const struct xds_client_config *config, struct xds_client **ret)
{
	the.ops = config->ops;
	the.arg = config->arg;
	(void)snprintf(the.id, sizeof(the.id), "%s", config->node_id);
	*ret = NULL;
	return 0;
}

struct xds_client *__wrap_xds_client_free(struct xds_client *c)
{
	return NULL;
}

enum xds_part __wrap_xds_client_part(const struct xds_client *c)
{
	return the.part;
}

int __wrap_datapath_map_fd(const struct datapath *d, enum datapath_map map)
{
	return (int)map;
}

int __wrap_datapath_put(struct datapath *d, enum datapath_map map, const void *key,
			const void *value)
{
	return map == DATAPATH_WORKLOADS && the.is_full ? -E2BIG : 0;
}

int __wrap_bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	if (fd == DATAPATH_FRESH_UNTIL)
		memcpy(&the.fresh_until, value, sizeof(the.fresh_until));
	return 0;
}

int __wrap_bpf_map_delete_elem(int fd, const void *key)
{
	return 0;
}

int __wrap_bpf_map_get_next_key(int fd, const void *key, void *next)
{
	return -ENOENT;
}

static void say(const char *what)
{
	(void)strncat(the.said, what, sizeof(the.said) - strlen(the.said) - 1);
}

static void on_synced(void *arg)
{
	say("synced ");
}

static void on_incomplete(void *arg, bool is_incomplete)
{
	say(is_incomplete ? "incomplete " : "complete ");
}

static void on_registry_only(void *arg, bool is_registry_only)
{
}

struct fixture {
	struct loop *loop;
	struct mesh *mesh;
};

static int setup(void **state)
{
	static struct fixture f;
	struct mesh_config config = {
		.node = "n1",
		.on_synced = on_synced,
		.on_incomplete = on_incomplete,
		.on_registry_only = on_registry_only,
	};

	memset(&the, 0, sizeof(the));
	the.part = XDS_PART_WHOLE;
	log_set_level(LOG_OFF);
	assert_int_equal(loop_new(&f.loop), 0);
	config.loop = f.loop;
	assert_int_equal(mesh_new(&config, &f.mesh), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)mesh_free(f->mesh);
	(void)loop_free(f->loop);
	return 0;
}

static void connected(bool is_connected)
{
	the.ops->on_state(the.arg, is_connected);
}

/* A response with one workload, or with the configuration. */
static void came(enum xds_type type)
{
	Istio__Workload__Address a = ISTIO__WORKLOAD__ADDRESS__INIT;
	Istio__Workload__Workload w = ISTIO__WORKLOAD__WORKLOAD__INIT;
	Culvert__Node__Config c = CULVERT__NODE__CONFIG__INIT;
	uint8_t packed[256], bytes[] = {10, 0, 0, 1};
	ProtobufCBinaryData addr = {sizeof(bytes), bytes};
	char err[128] = "";
	size_t len;

	w.n_addresses = 1;
	w.addresses = &addr;
	w.tunnel_protocol = ISTIO__WORKLOAD__TUNNEL_PROTOCOL__HBONE;
	a.type_case = ISTIO__WORKLOAD__ADDRESS__TYPE_WORKLOAD;
	a.workload = &w;
	len = type == XDS_ADDRESS ? istio__workload__address__pack(&a, packed)
				  : culvert__node__config__pack(&c, packed);
	assert_int_equal(the.ops->on_resource(the.arg, type, "*", packed, len, err, sizeof(err)),
			 0);
	the.ops->on_update_done(the.arg, type);
}

#define assert_said(expected)                                                                      \
	do {                                                                                       \
		assert_string_equal(the.said, (expected));                                         \
		the.said[0] = '\0';                                                                \
	} while (0)

/* Pods that an earlier agent sealed because it did not know them stay so until then. */
static void the_first_part_is_not_taken_for_all_of_it(void **state)
{
	connected(true);
	the.part = XDS_PART_MORE;
	came(XDS_ADDRESS);
	came(XDS_ADDRESS);
	assert_said("");
	assert_int_equal(the.fresh_until, 0);
	the.part = XDS_PART_WHOLE;
	came(XDS_NODE_CONFIG);
	assert_said("complete synced ");
	assert_true(the.fresh_until > 0);
	came(XDS_ADDRESS);
	assert_said("");
}

static void what_has_no_room_is_said_at_once(void **state)
{
	connected(true);
	the.is_full = true;
	came(XDS_ADDRESS);
	assert_said("incomplete ");
	came(XDS_NODE_CONFIG);
	assert_said("synced ");
	the.is_full = false;
	came(XDS_ADDRESS);
	assert_said("complete ");
}

static void halves_of_two_streams_are_no_whole(void **state)
{
	connected(true);
	came(XDS_ADDRESS);
	connected(false);
	connected(true);
	came(XDS_NODE_CONFIG);
	assert_said("");
	assert_int_equal(the.fresh_until, 0);
	came(XDS_ADDRESS);
	assert_said("complete synced ");
	assert_true(the.fresh_until > 0);
	/* and what was whole once stays so, but is not current */
	connected(false);
	assert_int_equal(the.fresh_until, 0);
	connected(true);
	came(XDS_NODE_CONFIG);
	assert_int_equal(the.fresh_until, 0);
	assert_said("");
	came(XDS_ADDRESS);
	assert_true(the.fresh_until > 0);
	assert_said("");
}

/* It has no configuration for nodes, and does not say what addresses pods have. */
static void of_istio_s_control_plane_addresses_are_all(void **state)
{
	the.part = XDS_PART_UNSAID;
	connected(true);
	came(XDS_ADDRESS);
	assert_said("incomplete synced ");
	assert_true(the.fresh_until > 0);
	connected(false);
	assert_int_equal(the.fresh_until, 0);
	assert_said("");
	/* ours in its place, which has told the addresses alone */
	connected(true);
	the.part = XDS_PART_MORE;
	came(XDS_ADDRESS);
	assert_said("");
	assert_int_equal(the.fresh_until, 0);
	the.part = XDS_PART_WHOLE;
	came(XDS_NODE_CONFIG);
	assert_said("complete ");
	assert_true(the.fresh_until > 0);
}

static void the_agent_has_an_id_that_istiod_takes(void **state)
{
	assert_string_equal(the.id, "ztunnel~127.0.0.1~culvert-agent-n1.istio-system~"
				    "istio-system.svc.cluster.local");
	assert_true(client_id_is_agent(the.id));
	assert_true(client_id_is_agent("agent~n1"));
	assert_false(client_id_is_agent("ztunnel~127.0.0.1~ztunnel-n1.istio-system~x"));
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(the_first_part_is_not_taken_for_all_of_it),
		CASE(what_has_no_room_is_said_at_once),
		CASE(halves_of_two_streams_are_no_whole),
		CASE(of_istio_s_control_plane_addresses_are_all),
		CASE(the_agent_has_an_id_that_istiod_takes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
