/* SPDX-License-Identifier: Apache-2.0 */
/* control - a folder in, resources and certificates out, over the real socket; a change arrives, a
 * restart removes nothing. */
#include "userspace/control/metrics.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "net/unix.h"
#include "source/mesh_config.h"
#include "tests/unit/control/ca-dir.h"
#include "tests/unit/turn.h"
#include "tls/key.h"
#include "userspace/lib/xds/authorization.pb-c.h"
#include "userspace/lib/xds/node.pb-c.h"
#include "xds/ca_client.h"
#include "xds/client.h"
#include "xds/resources.h"

#define POD                                                                                        \
	"apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: demo, labels: {app: web}}\n"   \
	"spec: {nodeName: %s, serviceAccountName: %s, containers: [{name: c, image: i}]}\n"        \
	"status: {podIP: %s}\n"
#define NAMESPACE                                                                                  \
	"apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {istio-injection: "       \
	"enabled}}\n"

struct fixture {
	struct loop *loop;
	char dir[64];
	struct ca *ca;
	struct control *control;
	struct xds_client *xds;
	struct ca_client *ca_client;
	struct map *names; /* -> URL of its type */
	size_t n_removed, n_answers;
	int error;
	char trust_domain[64], access_log[64];
	int outbound;
	Istio__Security__Scope scope; /* of the last policy */
	size_t n_configs;
};

/* There is no memory for it, so often. */
static const char *too_large;
static unsigned int too_large_times;

int __real_resources_set(struct resources *s, const char *name, const void *packed, size_t len);
int __wrap_resources_set(struct resources *s, const char *name, const void *packed, size_t len);

int __wrap_resources_set(struct resources *s, const char *name, const void *packed, size_t len)
{
	if (too_large && streq(name, too_large) && too_large_times > 0) {
		too_large_times--;
		return -ENOMEM;
	}
	return __real_resources_set(s, name, packed, len);
}

/* There is no memory to remember it. */
static const char *forgotten;

void **__real_map_at_str(struct map *m, const char *key, const char **ret_key);
void **__wrap_map_at_str(struct map *m, const char *key, const char **ret_key);

void **__wrap_map_at_str(struct map *m, const char *key, const char **ret_key)
{
	return forgotten && streq(key, forgotten) ? NULL : __real_map_at_str(m, key, ret_key);
}

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len, char *err, size_t err_size)
{
	struct fixture *f = arg;

	assert_int_equal(map_put_str(f->names, name, (void *)xds_type_url(type)), 0);
	if (type == XDS_AUTHORIZATION) {
		Istio__Security__Authorization *z =
			istio__security__authorization__unpack(NULL, len, packed);

		assert_non_null(z);
		f->scope = z->scope;
		istio__security__authorization__free_unpacked(z, NULL);
	}
	if (type == XDS_NODE_CONFIG) {
		Culvert__Node__Config *m = culvert__node__config__unpack(NULL, len, packed);

		assert_non_null(m);
		(void)str_copy(f->trust_domain, sizeof(f->trust_domain), m->trust_domain);
		(void)str_copy(f->access_log, sizeof(f->access_log), m->access_log_file);
		f->outbound = (int)m->outbound_traffic;
		f->n_configs++;
		culvert__node__config__free_unpacked(m, NULL);
	}
	return 0;
}

static int for_each_held(void *arg, enum xds_type type, int (*fn)(void *arg, const char *name),
			 void *fn_arg)
{
	const struct fixture *f = arg;
	int r = 0;

	map_for_each (f->names, it)
		if (r == 0 && it.value == xds_type_url(type))
			r = fn(fn_arg, it.key);
	return r;
}

static int on_removed(void *arg, enum xds_type type, const char *name)
{
	struct fixture *f = arg;

	f->n_removed++;
	(void)map_del_str(f->names, name);
	return 0;
}

static const struct xds_ops ops = {
	.on_resource = on_resource,
	.on_removed = on_removed,
	.for_each_held = for_each_held,
};

static void file_write(const struct fixture *f, const char *name, const char *text)
{
	_cleanup_(freep) char *path = str_format("%s/config/%s", f->dir, name);

	assert_int_equal(file_write_atomic(path, text, strlen(text), 0644), 0);
}

static void pod_write(const struct fixture *f, const char *name, const char *node, const char *sa)
{
	_cleanup_(freep) char *text = str_format(POD, name, node, sa, "10.244.1.5");
	_cleanup_(freep) char *file = str_format("%s.yaml", name);

	file_write(f, file, text);
}

static void control_start(struct fixture *f, const char *root_namespace)
{
	static const struct mesh_config at_start = {.root_namespace = "mesh-root"};
	_cleanup_(freep) char *path = str_format("%s/xds.sock", f->dir);
	_cleanup_(freep) char *config_dir = str_format("%s/config", f->dir);
	struct control_config config = control_config_of_test();

	config.loop = f->loop;
	config.node = "n1";
	config.config_dir = config_dir;
	config.root_namespace = root_namespace;
	config.mesh_at_start = &at_start;
	config.ca = f->ca;
	assert_int_equal(unix_stream_listen(path, 0600, &config.xds_fd), 0);
	assert_int_equal(control_new(&config, &f->control), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct xds_client_config config = {
		.node_id = "agent~1.1.1.1~a.b~b.svc.cluster.local",
		.node_name = "n1",
		.version = "v7\xe2\x82", /* no UTF-8: cut inside a character */
		.types = 1u << XDS_ADDRESS | 1u << XDS_AUTHORIZATION | 1u << XDS_NODE_CONFIG,
		.ops = &ops,
		.arg = f,
	};
	_cleanup_(freep) char *path = NULL;
	_cleanup_(freep) char *config_dir = NULL;

	assert_non_null(f);
	log_set_level(LOG_ERROR);
	f->ca = ca_dir_make(f->dir);
	path = str_format("%s/xds.sock", f->dir);
	config_dir = str_format("%s/config", f->dir);
	assert_int_equal(mkdir_p(config_dir, 0755), 0);
	assert_int_equal(map_new(&f->names), 0);
	assert_int_equal(loop_new(&f->loop), 0);
	file_write(f, "ns.yaml", NAMESPACE);
	pod_write(f, "web-1", "n1", "web");
	control_start(f, "istio-system");
	config.loop = f->loop;
	config.target.path = path;
	assert_int_equal(xds_client_new(&config, &f->xds), 0);
	assert_int_equal(ca_client_new(f->loop, &(struct dial_target){.path = path}, &f->ca_client),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)xds_client_free(f->xds);
	(void)ca_client_free(f->ca_client);
	(void)control_free(f->control);
	(void)ca_free(f->ca);
	(void)loop_free(f->loop);
	(void)map_free(f->names);
	ca_dir_remove(f->dir);
	free(f);
	return 0;
}

static void run_until(struct fixture *f, const char *name, bool is_there)
{
	turn_until(f->loop, 10000, (map_get_str(f->names, name) != NULL) == is_there);
	assert_true((map_get_str(f->names, name) != NULL) == is_there);
}

static void on_answer(void *arg, int error, const char *message, const char *const *chain, size_t n)
{
	struct fixture *f = arg;

	f->error = error;
	f->n_answers++;
}

static int sign(struct fixture *f, const char *spiffe)
{
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(freep) char *csr = NULL;
	uint64_t end = now_monotonic_us() + 10000000;
	size_t before = f->n_answers;

	assert_int_equal(tls_key_new(&key), 0);
	assert_int_equal(tls_csr_new(key, spiffe, &csr), 0);
	assert_int_equal(ca_client_sign(f->ca_client, spiffe, csr, on_answer, f), 0);
	while (f->n_answers == before && now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 20);
	assert_int_equal(f->n_answers, before + 1);
	return f->error;
}

static void a_change_in_the_folder_reaches_the_client(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *path = str_format("%s/config/web-2.yaml", f->dir);

	assert_non_null(control_unready(f->control));
	run_until(f, "Kubernetes//Pod/demo/web-1", true);
	assert_null(control_unready(f->control));
	run_until(f, "*", true);
	assert_string_equal(f->trust_domain, "cluster.local");
	pod_write(f, "web-2", "n2", "web");
	run_until(f, "Kubernetes//Pod/demo/web-2", true);
	assert_int_equal(unlink(path), 0);
	run_until(f, "Kubernetes//Pod/demo/web-2", false);
}

static void run_until_configs(struct fixture *f, size_t n)
{
	turn_until(f->loop, 10000, f->n_configs >= n);
	assert_int_equal(f->n_configs, n);
}

#define MESH                                                                                       \
	"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\n"      \
	"data:\n  mesh: |\n"

static void mesh_configuration_reaches_the_nodes(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *path = str_format("%s/config/mesh.yaml", f->dir);
	json_t *status;
	char *text;

	run_until_configs(f, 1);
	assert_int_equal(f->outbound, CULVERT__NODE__CONFIG__OUTBOUND_TRAFFIC__ALLOW_ANY);
	file_write(f, "mesh.yaml",
		   MESH "    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
			"    accessLogFile: /dev/stdout\n    trustDomain: other\n");
	run_until_configs(f, 2);
	assert_int_equal(f->outbound, CULVERT__NODE__CONFIG__OUTBOUND_TRAFFIC__REGISTRY_ONLY);
	assert_string_equal(f->access_log, "/dev/stdout");
	assert_string_equal(f->trust_domain, "cluster.local");
	/* a mistake is told with its line and changes nothing */
	file_write(f, "mesh.yaml", MESH "    outboundTrafficPolicy: {mode: SOME}\n");
	for (int i = 0; i < 30; i++)
		(void)loop_run_once(f->loop, 10);
	assert_int_equal(f->n_configs, 2);
	status = control_status(f->control);
	text = json_dumps(json_object_get(status, "errors"), 0);
	assert_non_null(strstr(text, "data.mesh.outboundTrafficPolicy.mode"));
	assert_non_null(strstr(text, "\"line\": 6"));
	free(text);
	json_decref(status);
	assert_int_equal(unlink(path), 0);
	run_until_configs(f, 3);
	assert_int_equal(f->outbound, CULVERT__NODE__CONFIG__OUTBOUND_TRAFFIC__ALLOW_ANY);
}

static void a_restart_removes_nothing(void **state)
{
	struct fixture *f = *state;

	run_until(f, "Kubernetes//Pod/demo/web-1", true);
	f->control = control_free(f->control);
	for (int i = 0; i < 10; i++)
		(void)loop_run_once(f->loop, 5);
	control_start(f, "istio-system");
	pod_write(f, "web-3", "n1", "web");
	run_until(f, "Kubernetes//Pod/demo/web-3", true);
	assert_int_equal(f->n_removed, 0);
	assert_non_null(map_get_str(f->names, "Kubernetes//Pod/demo/web-1"));
}

#define POLICY_IN(namespace_)                                                                      \
	"---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"                       \
	"metadata: {name: nobody, namespace: " namespace_ "}\nspec: {action: DENY, rules: [{}]}\n"
#define POLICY POLICY_IN("demo")

/* The pod alone would be open to all that its policy keeps out. */
static void without_memory_for_all_of_a_change_nodes_hear_none_of_it(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *pod = str_format(POD, "web-4", "n1", "web", "10.244.1.6");
	_cleanup_(freep) char *text = str_format("%s" POLICY, pod);

	run_until(f, "Kubernetes//Pod/demo/web-1", true);
	log_set_level(LOG_OFF);
	too_large = "demo/nobody";
	too_large_times = 2;
	file_write(f, "web-4.yaml", text);
	run_until(f, "Kubernetes//Pod/demo/web-4", true);
	assert_int_equal(too_large_times, 0);
	run_until(f, "demo/nobody", true);
	log_set_level(LOG_ERROR);
}

/* Its labels say which pods are the mesh's. */
static void a_namespace_that_is_not_remembered_ends_it_before_nodes_hear_of_its_change(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *pod = str_format(POD, "web-5", "n1", "web", "10.244.1.7");
	_cleanup_(freep) char *text =
		str_format("apiVersion: v1\nkind: Namespace\nmetadata: {name: late}\n---\n%s", pod);
	uint64_t end;

	run_until(f, "Kubernetes//Pod/demo/web-1", true);
	log_set_level(LOG_OFF);
	forgotten = "Namespace//late";
	file_write(f, "web-5.yaml", text);
	end = now_monotonic_us() + 1500000;
	while (now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 20);
	forgotten = NULL;
	log_set_level(LOG_ERROR);
	assert_null(map_get_str(f->names, "Kubernetes//Pod/demo/web-5"));
}

/* Return: how many problems the status names. */
static size_t errors_count(const struct fixture *f)
{
	_cleanup_(json_decrefp) json_t *status = control_status(f->control);

	return json_array_size(json_object_get(status, "errors"));
}

static bool has_error(const struct fixture *f, const char *part)
{
	_cleanup_(json_decrefp) json_t *status = control_status(f->control);
	char *text = json_dumps(json_object_get(status, "errors"), 0);
	bool is_there = strstr(text, part) != NULL;

	free(text);
	return is_there;
}

static void run_for(struct fixture *f, uint64_t us)
{
	uint64_t end = now_monotonic_us() + us;

	while (now_monotonic_us() < end)
		(void)loop_run_once(f->loop, 20);
}

/* Whom it keeps out is not known, nor where. */
static void nobody_is_served_while_a_policy_may_stand_in_what_cannot_be_read(void **state)
{
	static const char *const texts[] = {
		POLICY "x: [\n",
		"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nspec: {}\n",
	};
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		file_write(f, "policy.yaml", texts[i]);
		run_for(f, 300000);
		assert_non_null(control_unready(f->control));
		assert_null(map_get_str(f->names, "Kubernetes//Pod/demo/web-1"));
		assert_int_equal(errors_count(f), 1);
	}
	file_write(f, "policy.yaml", POLICY);
	run_until(f, "Kubernetes//Pod/demo/web-1", true);
	run_until(f, "demo/nobody", true);
	assert_null(control_unready(f->control));
	assert_int_equal(errors_count(f), 0);
}

static void while_it_runs_such_a_file_leaves_all_as_it_was_and_is_told(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	file_write(f, "policy.yaml", POLICY);
	run_until(f, "demo/nobody", true);
	file_write(f, "new.yaml", POLICY "x: [\n");
	file_write(f, "policy.yaml", POLICY "x: [\n");
	pod_write(f, "web-2", "n2", "web");
	run_until(f, "Kubernetes//Pod/demo/web-2", true);
	run_for(f, 100000);
	assert_non_null(map_get_str(f->names, "demo/nobody"));
	assert_int_equal(f->n_removed, 0);
	assert_int_equal(errors_count(f), 2);
	assert_true(has_error(f, "new ones are not in force"));
}

/* Where MeshConfig is has nothing to do with where policies are for all. */
static void another_root_namespace_is_that_of_policies_alone(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	f->control = control_free(f->control);
	control_start(f, "mesh-root");
	file_write(f, "mesh.yaml",
		   MESH "    rootNamespace: mesh-root\n"
			"    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n");
	run_for(f, 300000);
	assert_int_equal(f->outbound, CULVERT__NODE__CONFIG__OUTBOUND_TRAFFIC__REGISTRY_ONLY);
	assert_int_equal(errors_count(f), 0);
	file_write(f, "policy.yaml", POLICY_IN("istio-system"));
	run_until(f, "istio-system/nobody", true);
	assert_int_equal(f->scope, ISTIO__SECURITY__SCOPE__NAMESPACE);
	file_write(f, "policy.yaml", POLICY_IN("mesh-root"));
	run_until(f, "mesh-root/nobody", true);
	assert_int_equal(f->scope, ISTIO__SECURITY__SCOPE__GLOBAL);
	file_write(f, "mesh.yaml", MESH "    rootNamespace: other\n");
	run_for(f, 300000);
	assert_true(has_error(f, "\\\"mesh-root\\\" stays"));
	file_write(f, "mesh.yaml", MESH "    rootNamespace: mesh-root\n");
	run_for(f, 300000);
	assert_int_equal(errors_count(f), 0);
	file_write(f, "mesh.yaml", MESH);
	run_for(f, 300000);
	assert_true(has_error(f, "\\\"mesh-root\\\" stays"));
}

static void signs_for_pods_of_this_node_only(void **state)
{
	struct fixture *f = *state;

	pod_write(f, "other", "n2", "other");
	run_until(f, "Kubernetes//Pod/demo/other", true);
	assert_int_equal(sign(f, "spiffe://cluster.local/ns/demo/sa/web"), 0);
	assert_int_equal(sign(f, "spiffe://cluster.local/ns/demo/sa/other"), -EACCES);
	assert_int_equal(sign(f, "spiffe://elsewhere/ns/demo/sa/web"), -EACCES);
}

static void status_tells_all(void **state)
{
	struct fixture *f = *state;
	const json_t *client;
	json_t *json;

	file_write(f, "bad.yaml", "apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}\n");
	run_until(f, "Kubernetes//Pod/demo/web-1", true);
	run_for(f, 100000);
	json = control_status(f->control);
	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "node")), "n1");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(json, "objects"), "Pod")), 1);
	assert_int_equal(json_array_size(json_object_get(json, "errors")), 1);
	assert_int_equal(json_array_size(json_object_get(json, "clients")), 1);
	client = json_array_get(json_object_get(json, "clients"), 0);
	assert_string_equal(json_string_value(json_object_get(client, "version")), "v7??");
	assert_non_null(json_object_get(json_object_get(json, "ca"), "root_not_after"));
	json_decref(json);
}

/* metric_of() - of a sample by its name and labels; -1: there is none. */
static double metric_of(const struct fixture *f, const char *sample)
{
	_cleanup_(buf_resetp) struct buf text = {0};
	_cleanup_(freep) char *start = str_format("\n%s ", sample);
	const char *found;

	assert_int_equal(metrics_write(f->control, &text), 0);
	assert_int_equal(buf_append(&text, "", 1), 0);
	found = strstr((const char *)buf_head(&text), start);
	return found ? strtod(found + strlen(start), NULL) : -1;
}

static void run_until_metric(struct fixture *f, const char *sample, double wanted)
{
	double got;

	turn_until(f->loop, 10000, (got = metric_of(f, sample)) == wanted);
	if (got != wanted)
		fail_msg("%s: %f, not %f", sample, got, wanted);
}

static void metrics_have_istiods_names(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) char *path = str_format("%s/config/web-2.yaml", f->dir);
	double left;

	log_set_level(LOG_OFF);
	run_until(f, "Kubernetes//Pod/demo/web-1", true);
	assert_true(metric_of(f, "pilot_xds{type=\"agent\"}") == 1);
	assert_true(metric_of(f, "pilot_xds{type=\"ztunnel\"}") == 0);
	run_until_metric(f, "pilot_xds_pushes{type=\"wads\"}", 1);
	pod_write(f, "web-2", "n2", "web");
	run_until_metric(f, "pilot_k8s_reg_events{type=\"Pods\",event=\"add\"}", 2);
	run_until_metric(f, "pilot_proxy_convergence_time_count", 1);
	assert_true(metric_of(f, "pilot_proxy_convergence_time_bucket{le=\"+Inf\"}") == 1);
	assert_true(metric_of(f, "pilot_proxy_convergence_time_sum") > 0);
	pod_write(f, "web-2", "n2", "other");
	run_until_metric(f, "pilot_k8s_reg_events{type=\"Pods\",event=\"update\"}", 1);
	assert_int_equal(unlink(path), 0);
	run_until_metric(f, "pilot_k8s_reg_events{type=\"Pods\",event=\"delete\"}", 1);
	assert_true(metric_of(f, "pilot_k8s_cfg_events{type=\"Pod\",event=\"add\"}") < 0);
	file_write(f, "mesh.yaml", MESH "    outboundTrafficPolicy: {mode: SOME}\n");
	run_until_metric(f, "culvert_control_config_problems{severity=\"error\"}", 1);
	run_until_metric(f, "pilot_k8s_cfg_events{type=\"ConfigMap\",event=\"add\"}", 1);
	assert_int_equal(sign(f, "spiffe://cluster.local/ns/demo/sa/web"), 0);
	assert_true(metric_of(f, "citadel_server_csr_count") == 1);
	assert_true(metric_of(f, "citadel_server_success_cert_issuance_count") == 1);
	left = metric_of(f, "citadel_server_root_cert_expiry_seconds");
	assert_true(left > 3600.0 * 24 * 365 && left < 3600.0 * 24 * 366 * 10);
	assert_true(metric_of(f, "citadel_server_cert_chain_expiry_seconds") > 0);
}

static void a_problem_of_no_object_is_named_until_it_is_gone(void **state)
{
	static const struct source_error err = {.file = "/etc/x",
						.kind = "Secret",
						.namespace_ = "istio-system",
						.name = "x",
						.field = "",
						.message = "waits"};
	struct fixture *f = *state;

	log_set_level(LOG_OFF);
	assert_int_equal(errors_count(f), 0);
	control_set_problem(f->control, &err, true);
	control_set_problem(f->control, &err, true);
	assert_int_equal(errors_count(f), 1);
	control_set_problem(f->control, &err, false);
	assert_int_equal(errors_count(f), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_change_in_the_folder_reaches_the_client),
		TEST(mesh_configuration_reaches_the_nodes),
		TEST(a_restart_removes_nothing),
		TEST(without_memory_for_all_of_a_change_nodes_hear_none_of_it),
		TEST(a_namespace_that_is_not_remembered_ends_it_before_nodes_hear_of_its_change),
		TEST(nobody_is_served_while_a_policy_may_stand_in_what_cannot_be_read),
		TEST(while_it_runs_such_a_file_leaves_all_as_it_was_and_is_told),
		TEST(another_root_namespace_is_that_of_policies_alone),
		TEST(signs_for_pods_of_this_node_only),
		TEST(status_tells_all),
		TEST(metrics_have_istiods_names),
		TEST(a_problem_of_no_object_is_named_until_it_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
