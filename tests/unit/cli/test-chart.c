/* SPDX-License-Identifier: Apache-2.0 */
/* chart, install_spec - the files inside the program are the chart's; what a user writes becomes
 * values, a mistake is named. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "source/yaml.h"
#include "userspace/cli/chart.h"
#include "userspace/cli/install_spec.h"
#include "userspace/cli/json.h"

#define CHART "tools/deploy/chart"

static void every_file_of_the_chart_is_inside_the_program(void **state)
{
	static const char *const folders[] = {"templates", "crds", "profiles"};
	unsigned int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		_cleanup_(freep) char *folder = str_format(CHART "/%s", folders[i]);
		_cleanup_(closedirp) DIR *dir = opendir(folder);

		assert_non_null(dir);
		for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
			_cleanup_(freep) char *path = str_format("%s/%s", folders[i], e->d_name);
			_cleanup_(freep) char *whole = str_format(CHART "/%s", path);
			_cleanup_(freep) char *text = NULL;

			if (e->d_name[0] == '.')
				continue;
			assert_int_equal(file_read(whole, 1 << 20, &text, NULL), 0);
			if (!chart_file(path) || !streq(chart_file(path), text))
				fail_msg("userspace/cli/chart_files.c: not the same: %s", path);
			n++;
		}
	}
	assert_int_equal(n, 3 + 4);
}

/* plan() - of words as after --set, a NULL ends them. */
static int plan(const char *const *sets, struct install_plan *ret, char *err)
{
	_cleanup_(install_spec_freep) struct install_spec *s = NULL;
	int r = install_spec_new(&s);

	for (; *sets && r == 0; sets++)
		r = install_spec_set(s, *sets, err);
	return r < 0 ? r : install_spec_plan(s, ret, err);
}

struct objects {
	json_t *by_name; /* "Kind/name" */
};

static int on_object(void *arg, const struct yaml_document *doc)
{
	struct objects *o = arg;
	const char *name = json_text(json_object_get(doc->body, "metadata"), "name", "");
	_cleanup_(freep) char *key = str_format("%s/%s", json_text(doc->body, "kind", ""), name);

	assert_int_equal(doc->bad_line, 0);
	assert_true(*name);
	return json_object_set(o->by_name, key, doc->body);
}

/* objects_of() - the template with these words, as a cluster would read it. Caller drops. */
static json_t *objects_of(const char *const *sets)
{
	_cleanup_(buf_resetp) struct buf out = {0};
	struct objects o = {.by_name = json_object()};
	char err[CHART_ERROR_MAX] = "";
	struct install_plan p = {0};
	struct yaml_problem problem;

	if (plan(sets, &p, err) < 0 ||
	    chart_render("t", chart_file("templates/culvert.yaml"), p.values, &out, err) < 0)
		fail_msg("%s", err);
	json_decref(p.values);
	assert_int_equal(yaml_parse((char *)buf_head(&out), buf_len(&out), on_object, &o, &problem),
			 0);
	return o.by_name;
}

static const json_t *container(const json_t *objects, const char *object, size_t index)
{
	const json_t *spec = json_object_get(json_object_get(objects, object), "spec");

	spec = json_object_get(json_object_get(spec, "template"), "spec");
	return json_array_get(json_object_get(spec, "containers"), index);
}

static void each_profile_makes_objects_that_say_what_it_sets(void **state)
{
	for (const struct chart_profile *p = chart_profiles(); p->name; p++) {
		_cleanup_(freep) char *word = str_format("profile=%s", p->name);
		_cleanup_(json_decrefp) json_t *o = objects_of((const char *[]){word, NULL});
		bool is_production = streq(p->name, "production");
		bool has_budget = is_production || streq(p->name, "default");
		const json_t *spec =
			json_object_get(json_object_get(o, "Deployment/istiod"), "spec");

		assert_int_equal(json_number(spec, "replicas"), is_production ? 2 : 1);
		assert_int_equal(json_object_get(o, "PodDisruptionBudget/istiod") != NULL,
				 has_budget);
		assert_int_equal(json_object_get(o, "ConfigMap/istio") != NULL,
				 streq(p->name, "demo"));
		assert_non_null(json_object_get(o, "Namespace/istio-system"));
	}
}

/* @path: names with dots between; a number is an index. */
static const json_t *value_at(const json_t *objects, const char *object, const char *path)
{
	const json_t *at = json_object_get(objects, object);
	char key[64];

	for (size_t n; *path; path += n + (path[n] == '.')) {
		n = strcspn(path, ".");
		(void)snprintf(key, sizeof(key), "%.*s", (int)n, path);
		at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10))
				       : json_object_get(at, key);
	}
	return at;
}

#define POD     "spec.template.spec."
#define NODE    "DaemonSet/ztunnel"
#define CONTROL "Deployment/istiod"
#define LOCKED                                                                                     \
	"\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true,\"capabilities\":"     \
	"{\"drop\":[\"ALL\"]"
#define SECCOMP "\"seccompProfile\":{\"type\":\"RuntimeDefault\"}"

/* What a cluster's owner looks at first. tests/kube/test_enrol.py asks the kernel the same. */
static void what_runs_has_no_more_rights_than_it_needs(void **state)
{
	static const struct {
		const char *object, *path, *want; /* JSON; NULL: not there */
	} rows[] = {
		{NODE, POD "priorityClassName", "\"system-node-critical\""},
		{NODE, POD "hostPID", "true"},
		{NODE, POD "hostNetwork", NULL},
		{NODE, POD "hostIPC", NULL},
		{NODE, POD "tolerations", "[{\"operator\":\"Exists\"}]"},
		{NODE, POD "containers.0.securityContext",
		 "{\"runAsUser\":0," LOCKED ",\"add\":[\"BPF\",\"PERFMON\",\"NET_ADMIN\","
		 "\"SYS_ADMIN\",\"SYS_PTRACE\"]}," SECCOMP "}"},
		{NODE, POD "containers.1.securityContext",
		 "{\"runAsNonRoot\":true,\"runAsUser\":1337,\"runAsGroup\":1337," LOCKED
		 "}," SECCOMP "}"},
		{NODE, POD "containers.2", NULL},
		/* the API server's token is the agent's alone */
		{NODE, POD "automountServiceAccountToken", "false"},
		{NODE, POD "containers.1.volumeMounts",
		 "[{\"name\":\"run\",\"mountPath\":\"/run/culvert\"},"
		 "{\"name\":\"istio-token\",\"mountPath\":\"/var/run/secrets/tokens\","
		 "\"readOnly\":true},"
		 "{\"name\":\"istio-root\",\"mountPath\":\"/var/run/secrets/istio\","
		 "\"readOnly\":true}]"},
		{NODE, "spec.updateStrategy",
		 "{\"rollingUpdate\":{\"maxSurge\":1,\"maxUnavailable\":0}}"},
		{CONTROL, POD "hostPID", NULL},
		{CONTROL, POD "hostNetwork", NULL},
		{CONTROL, POD "securityContext",
		 "{\"runAsNonRoot\":true,\"runAsUser\":1338,\"runAsGroup\":1338,\"fsGroup\":1338}"},
		{CONTROL, POD "containers.0.securityContext", "{" LOCKED "}," SECCOMP "}"},
		{CONTROL, POD "containers.1", NULL},
		{CONTROL, POD "tolerations.0.key", "\"cni.istio.io/not-ready\""},
		{CONTROL, POD "tolerations.1.key", "\"CriticalAddonsOnly\""},
		{"PodDisruptionBudget/istiod", "spec.minAvailable", "1"},
		/* as istiod's but for 15010, where anybody could read the mesh */
		{"Service/istiod", "spec.ports",
		 "[{\"name\":\"https-dns\",\"port\":15012},"
		 "{\"name\":\"https-webhook\",\"port\":443,\"targetPort\":15017},"
		 "{\"name\":\"http-monitoring\",\"port\":15014}]"},
		{CONTROL, "spec.template.metadata.annotations",
		 "{\"prometheus.io/port\":\"15014\",\"prometheus.io/scrape\":\"true\"}"},
		{NODE, "spec.template.metadata.annotations",
		 "{\"prometheus.io/port\":\"15020\",\"prometheus.io/scrape\":\"true\"}"},
	};
	_cleanup_(json_decrefp) json_t *o = objects_of((const char *[]){NULL});

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const json_t *got = value_at(o, rows[i].object, rows[i].path);
		_cleanup_(json_decrefp) json_t *want =
			rows[i].want ? json_loads(rows[i].want, JSON_DECODE_ANY, NULL) : NULL;

		assert_int_equal(want != NULL, rows[i].want != NULL);
		if (want ? !json_equal(got, want) : got != NULL)
			fail_msg("%s: %s", rows[i].object, rows[i].path);
	}
}

static void istios_name_of_a_mesh_without_sidecars_is_the_default(void **state)
{
	_cleanup_(json_decrefp) json_t *ours = NULL, *istios = NULL;
	char err[CHART_ERROR_MAX];

	assert_int_equal(chart_values("default", &ours, err), 0);
	assert_int_equal(chart_values("ambient", &istios, err), 0);
	assert_true(json_equal(ours, istios));
	assert_int_equal(chart_values("sidecar", &(json_t *){NULL}, err), -ENOENT);
}

static void words_of_the_user_reach_the_containers(void **state)
{
	_cleanup_(json_decrefp) json_t *o = objects_of((const char *[]){
		"hub=registry.example/mesh", "values.global.tag=7", "values.agent.uplink=eth0",
		"values.agent.sameNode=encrypt", "values.global.logAsJson=true",
		"values.ztunnel.nodeSelector.kubernetes\\.io/os=true", "revision=canary", NULL});
	const json_t *agent = container(o, "DaemonSet/ztunnel", 0), *template;
	_cleanup_(freep) char *command = json_join(json_object_get(agent, "command"), " ");

	assert_string_equal(json_text(agent, "image", ""), "registry.example/mesh/culvert:7");
	assert_string_equal(
		command,
		"/usr/local/bin/culvert-agent --kubernetes "
		"--run-dir=/run/culvert "
		"--handover=/host/run/culvert/handover.sock "
		"--log-level=info --same-node=encrypt "
		"--host-bypass=established --local-congestion=reno "
		"--daemonset=istio-system/ztunnel --uplink=eth0 --cni-run-dir=/run/culvert-cni "
		"--cni-bin-dir=/host/cni/bin --cni-conf-dir=/host/cni/conf "
		"--cni-exempt-namespaces=istio-system,kube-system "
		"--cni-away-grace=0 --log-json");
	template = json_object_get(json_object_get(json_object_get(o, "DaemonSet/ztunnel"), "spec"),
				   "template");
	assert_string_equal(
		json_text(json_object_get(json_object_get(template, "metadata"), "labels"),
			  "istio.io/rev", ""),
		"canary");
	assert_string_equal(
		json_text(json_object_get(json_object_get(template, "spec"), "nodeSelector"),
			  "kubernetes.io/os", ""),
		"true");
}

/* The control plane tells it to the nodes. */
static void the_cluster_s_domain_is_where_istio_has_it(void **state)
{
	_cleanup_(json_decrefp) json_t *o =
		objects_of((const char *[]){"values.global.proxy.clusterDomain=corp.local", NULL});
	_cleanup_(freep) char *command =
		json_join(json_object_get(container(o, "Deployment/istiod", 0), "command"), " ");

	assert_non_null(strstr(command, " --cluster-domain=corp.local "));
	assert_null(strstr(command, "cluster.local"));
}

/* It may have been there before; nothing of the node is mounted for that. */
static void without_the_plugin_the_agent_takes_it_away(void **state)
{
	_cleanup_(json_decrefp) json_t *o =
		objects_of((const char *[]){"values.cni.enabled=false", NULL});
	_cleanup_(freep) char *command =
		json_join(json_object_get(container(o, NODE, 0), "command"), " ");

	assert_non_null(strstr(command, " --cni-bin-dir=/proc/1/root/opt/cni/bin "
					"--cni-conf-dir=/proc/1/root/etc/cni/net.d"));
	assert_null(strstr(command, "--cni-run-dir"));
}

/* names_of() - "Kind/name" of all, sorted. */
static char *names_of(json_t *objects)
{
	_cleanup_(freep) char *text = json_dumps(objects, JSON_SORT_KEYS | JSON_COMPACT);
	_cleanup_(json_decrefp) json_t *sorted = json_loads(text, 0, NULL), *names = json_array();
	const char *key;
	const json_t *v;

	json_object_foreach (sorted, key, v)
		(void)json_array_append_new(names, json_string(key));
	return json_join(names, " ");
}

static void a_second_control_plane_shares_no_object_with_the_first(void **state)
{
	_cleanup_(json_decrefp) json_t *one = objects_of((const char *[]){NULL});
	_cleanup_(json_decrefp) json_t *two = objects_of(
		(const char *[]){"revision=canary", "components.ztunnel.enabled=false",
				 "values.defaultRevision=", "meshConfig.accessLogFile=", NULL});
	_cleanup_(json_decrefp) json_t *same =
		objects_of((const char *[]){"revision=default", NULL});
	_cleanup_(freep) char *names = names_of(two);
	const char *key;
	const json_t *v;

	assert_true(json_equal(one, same));
	json_object_foreach (two, key, v)
		if (json_object_get(one, key) && !streq(key, "Namespace/istio-system"))
			fail_msg("both have %s", key);
	assert_string_equal(
		names, "ClusterRole/culvert-istiod-canary "
		       "ClusterRoleBinding/culvert-istiod-canary "
		       "ConfigMap/istio-canary Deployment/istiod-canary Namespace/istio-system "
		       "PodDisruptionBudget/istiod-canary Role/culvert-istiod-canary "
		       "RoleBinding/culvert-istiod-canary Service/istiod-canary "
		       "ServiceAccount/istiod-canary "
		       "ValidatingWebhookConfiguration/istio-validator-canary-istio-system");
}

/* rendered() - the template with these two, as Helm would have them. Caller frees. */
static char *rendered(const char *revision, const char *nodes)
{
	_cleanup_(json_decrefp) json_t *values = NULL;
	_cleanup_(buf_resetp) struct buf out = {0};
	char err[CHART_ERROR_MAX] = "";

	assert_int_equal(chart_values("default", &values, err), 0);
	(void)json_object_set_new(values, "revision", json_string(revision));
	(void)json_object_set_new(json_object_get(values, "ztunnel"), "revision",
				  json_string(nodes));
	if (chart_render("t", chart_file("templates/culvert.yaml"), values, &out, err) < 0)
		fail_msg("%s", err);
	assert_int_equal(buf_append(&out, "", 1), 0);
	return strdup((char *)buf_head(&out));
}

/* `culvert` takes the name away before; Helm cannot. */
static void helms_revision_default_has_no_name_either(void **state)
{
	_cleanup_(freep) char *none = rendered("", ""), *named = rendered("default", "");
	_cleanup_(freep) char *back = rendered("a", "default");

	assert_string_equal(none, named);
	assert_non_null(strstr(back, "name: istiod-a,"));
	assert_non_null(
		strstr(back, "{name: XDS_ADDRESS, value: \"istiod.istio-system.svc:15012\"}"));
}

static void no_value_is_empty_text_as_helm_has_it(void **state)
{
	_cleanup_(json_decrefp) json_t *o =
		objects_of((const char *[]){"meshConfig.accessLogFile=", NULL});

	assert_string_equal(
		json_text(json_object_get(json_object_get(o, "ConfigMap/istio"), "data"), "mesh",
			  ""),
		"{\"accessLogFile\":\"\"}");
}

/* As Helm's users write them: a number without quotes, each suffix, null for no such thing. */
static void quantities_are_what_kubernetes_takes(void **state)
{
	static const struct {
		const char *set, *requests;
	} rows[] = {
		{"requests.cpu=1", "{\"cpu\":1,\"memory\":\"32Mi\"}"},
		{"requests.cpu=0.1", "{\"cpu\":0.1,\"memory\":\"32Mi\"}"},
		{"requests.memory=1Ti", "{\"cpu\":\"10m\",\"memory\":\"1Ti\"}"},
		{"requests.memory=1073741824", "{\"cpu\":\"10m\",\"memory\":1073741824}"},
		{"requests.ephemeral-storage=1e9",
		 "{\"cpu\":\"10m\",\"ephemeral-storage\":1000000000.0,\"memory\":\"32Mi\"}"},
		{"requests.cpu=null", "{\"memory\":\"32Mi\"}"},
		{"limits=null", "{\"cpu\":\"10m\",\"memory\":\"32Mi\"}"},
		{"requests=null", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(freep) char *set = str_format("values.pilot.resources.%s", rows[i].set);
		_cleanup_(json_decrefp) json_t *o = objects_of((const char *[]){set, NULL});
		const json_t *requests =
			value_at(o, CONTROL, POD "containers.0.resources.requests");
		_cleanup_(freep) char *text =
			requests ? json_dumps(requests, JSON_SORT_KEYS | JSON_COMPACT |
								JSON_REAL_PRECISION(15))
				 : NULL;

		if (!text != !rows[i].requests || (text && !streq(text, rows[i].requests)))
			fail_msg("%s: made %s", rows[i].set, text ? text : "none");
	}
}

static void null_takes_lists_away(void **state)
{
	_cleanup_(json_decrefp) json_t *o = objects_of((const char *[]){
		"values.pilot.tolerations=null", "values.ztunnel.nodeSelector=null",
		"values.global.imagePullSecrets=null", "values.agent.seLinuxOptions=null", NULL});

	assert_int_equal(json_array_size(value_at(o, NODE, POD "imagePullSecrets")), 0);
	assert_int_equal(json_array_size(value_at(o, CONTROL, POD "tolerations")), 1);
	assert_null(value_at(o, NODE, POD "nodeSelector"));
}

/* As Istio's charts have them, and as Kubernetes has. */
static void secrets_are_named_or_are_objects(void **state)
{
	static const char *const sets[][3] = {
		{"values.global.imagePullSecrets={a,b}"},
		{"values.global.imagePullSecrets=[{name: a}, b]"},
		{"values.global.imagePullSecrets[0]=a", "values.global.imagePullSecrets[1].name=b"},
		{"values.global.imagePullSecrets[1]=b", "values.global.imagePullSecrets[0]=a"},
		{"values.global.imagePullSecrets={x,b}", "values.global.imagePullSecrets[0]=a"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		_cleanup_(json_decrefp) json_t *o = objects_of(sets[i]);
		_cleanup_(freep) char *node =
			json_dumps(value_at(o, NODE, POD "imagePullSecrets"), JSON_COMPACT);
		_cleanup_(freep) char *control =
			json_dumps(value_at(o, CONTROL, POD "imagePullSecrets"), JSON_COMPACT);

		assert_string_equal(node, "[{\"name\":\"a\"},{\"name\":\"b\"}]");
		assert_string_equal(control, node);
	}
}

static bool has_cni(const char *const *sets)
{
	char err[CHART_ERROR_MAX];
	struct install_plan p = {0};
	bool is_enabled;

	assert_int_equal(plan(sets, &p, err), 0);
	is_enabled = json_is_true(json_object_get(json_object_get(p.values, "cni"), "enabled"));
	json_decref(p.values);
	return is_enabled;
}

static void cni_is_a_component_and_a_value(void **state)
{
	assert_true(has_cni((const char *[]){NULL}));
	assert_false(has_cni((const char *[]){"components.cni.enabled=false", NULL}));
	assert_false(has_cni((const char *[]){"values.cni.enabled=false", NULL}));
	assert_true(has_cni(
		(const char *[]){"components.cni.enabled=false", "values.cni.enabled=true", NULL}));
}

static void gateways_and_crds_are_told_apart(void **state)
{
	char err[CHART_ERROR_MAX];
	struct install_plan p = {0};

	assert_int_equal(plan((const char *[]){"components.ingressGateways[1].enabled=true",
					       "components.base.enabled=false", NULL},
			      &p, err),
			 0);
	assert_true(p.has_gateways);
	assert_false(p.has_crds);
	json_decref(p.values);
	assert_int_equal(plan((const char *[]){"components.ingressGateways[0].enabled=false", NULL},
			      &p, err),
			 0);
	assert_false(p.has_gateways);
	assert_true(p.has_crds);
	json_decref(p.values);
}

static void a_mistake_is_named(void **state)
{
	static const struct {
		const char *set, *part;
	} bad[] = {
		{"values.global.hubb=x", "values.global.hubb: no such key; is \"hub\" meant?"},
		{"pilot.replicaCount=2", "is \"values.pilot\" meant?"},
		{"nonsense=1", "known are profile, hub"},
		{"values.pilot.replicaCount=0", "pilot.replicaCount: expected 1 to 100"},
		{"values.pilot.replicaCount=two", "is of type string, expected \"integer\""},
		{"values.pilot.resources.limits.cpu=-0.5", "limits.cpu: expected 0 to"},
		{"values.pilot.resources.limits.memory=-1", "limits.memory: expected 0 to"},
		{"values.pilot.resources.limits.memory=1GiB", "limits.memory: does not match"},
		{"values.pilot.resources.limits.cpu=true", "is of type boolean, expected"},
		{"values.pilot.resources.limits.memroy=1", "is \"memory\" meant?"},
		{"values.global.imagePullSecrets={1}", "is of type integer, expected"},
		{"values.global.imagePullSecrets=[{nmae: a}]", "is \"name\" meant?"},
		{"values.agent.sameNode=off", "expected one of [\"direct\", \"encrypt\"]"},
		{"values.global.tag=a\"\nb", "global.tag: does not match"},
		{"values.defaultRevision=canary", "expected one of [\"\", \"default\"]"},
		{"components.ztunnel.enabled=canary", "expected \"boolean\""},
		{"values.agent.uplink=a-name-too-long-for-one", "agent.uplink: is too long"},
		{"values.pilot.tolerations=[", "values.pilot.tolerations"},
		{"components.pilot.enabled=false", ""},
		{"components.ingressGateways[64].enabled=true", "expected KEY[NUMBER]=VALUE or"},
		{"components.ingressGateways[0]=true", "is of type boolean, expected"},
		{"components.ingressGateways[x].a=true", "expected KEY[NUMBER]=VALUE or"},
		{"components.ingressGateways[0][0]=x", "expected KEY[NUMBER]=VALUE or"},
		{"values.global.imagePullSecrets[1]=x", "is of type null, expected"},
		{"values.global.tag[0]=x", "is of type array, expected \"string\""},
		{"profile=dmeo", "no profile \"dmeo\""},
		{"profile=../values", "no profile"},
		{"values..a=1", "values..a: "},
		{"=1", "expected KEY=VALUE"},
		{"values", "expected KEY=VALUE"},
		{"", "expected KEY=VALUE"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char err[CHART_ERROR_MAX] = "";
		struct install_plan p = {0};

		if (plan((const char *[]){bad[i].set, NULL}, &p, err) == 0 || p.values)
			fail_msg("taken: %s", bad[i].set);
		if (!strstr(err, bad[i].part))
			fail_msg("%s: said \"%s\", not \"%s\"", bad[i].set, err, bad[i].part);
	}
}

/* from_file() - what becomes of a file with this text. */
static int from_file(const char *text, struct install_plan *ret, char *err)
{
	_cleanup_(install_spec_freep) struct install_spec *s = NULL;
	char path[] = "/tmp/culvert-test-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
	assert_int_equal(install_spec_new(&s), 0);
	r = install_spec_file(s, path, err);
	(void)unlink(path);
	return r < 0 ? r : install_spec_plan(s, ret, err);
}

static void files_are_operators_or_values(void **state)
{
	static const char *const good[] = {
		"global: {tag: x}\npilot: {replicaCount: 3}\n",
		"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  tag: x\n"
		"  values:\n    pilot:\n      replicaCount: 3\n",
		/* as Istio's documentation has it; a component's pods come over values */
		"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nspec:\n  tag: x\n"
		"  values: {pilot: {replicaCount: 1}}\n  components:\n    pilot:\n      k8s:\n"
		"        hpaSpec: {minReplicas: 3, maxReplicas: 10}\n",
	};
	static const struct {
		const char *text, *part;
	} bad[] = {
		{"global:\n  tag: x\n  hubb: y\n", ":3: global.hubb: no such key"},
		{"kind: IstioOperator\nspec:\n  profle: demo\n",
		 ":3: spec.profle: no such key; is"},
		{"pilot:\n  tolerations: [{key: a, operator: Exists}]\n  replicaCount: x\n",
		 ":3: pilot.replicaCount: is of type string"},
		{"a: [", ":"},
		{"pilot: {replicaCount: 1, replicaCount: 2}\n", ":1: "},
		{"global: {}\n---\nglobal: {}\n", ":3: a second document"},
		{"[]\n", "expected \"object\""},
		{"kind: IstioOperator\nspec:\n  components:\n    pilot:\n      k8s:\n        env: "
		 "[]\n",
		 ":6: spec.components.pilot.k8s.env: no such key; known are resources"},
		{"kind: IstioOperator\nspec: {components: {pilot: {namespace: other}}}\n",
		 "expected one of [\"istio-system\"]"},
		{"kind: IstioOperator\nspec: {components: {ztunnel: {k8s: {replicaCount: 2}}}}\n",
		 "ztunnel.k8s.replicaCount: no such key"},
		{"kind: IstioOperator\nspec: {components: {pilot: {k8s: {replicaCount: 0}}}}\n",
		 "pilot.replicaCount: expected 1 to 100"},
	};
	char err[CHART_ERROR_MAX];
	struct install_plan p = {0};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(from_file(good[i], &p, err), 0);
		assert_int_equal(json_number(json_object_get(p.values, "pilot"), "replicaCount"),
				 3);
		assert_string_equal(json_text(json_object_get(p.values, "global"), "tag", ""), "x");
		json_decref(p.values);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(from_file(bad[i].text, &p, err) < 0);
		if (!strstr(err, bad[i].part))
			fail_msg("said \"%s\", not \"%s\"", err, bad[i].part);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_file_of_the_chart_is_inside_the_program),
		cmocka_unit_test(each_profile_makes_objects_that_say_what_it_sets),
		cmocka_unit_test(what_runs_has_no_more_rights_than_it_needs),
		cmocka_unit_test(istios_name_of_a_mesh_without_sidecars_is_the_default),
		cmocka_unit_test(words_of_the_user_reach_the_containers),
		cmocka_unit_test(a_second_control_plane_shares_no_object_with_the_first),
		cmocka_unit_test(helms_revision_default_has_no_name_either),
		cmocka_unit_test(no_value_is_empty_text_as_helm_has_it),
		cmocka_unit_test(quantities_are_what_kubernetes_takes),
		cmocka_unit_test(null_takes_lists_away),
		cmocka_unit_test(secrets_are_named_or_are_objects),
		cmocka_unit_test(cni_is_a_component_and_a_value),
		cmocka_unit_test(the_cluster_s_domain_is_where_istio_has_it),
		cmocka_unit_test(without_the_plugin_the_agent_takes_it_away),
		cmocka_unit_test(gateways_and_crds_are_told_apart),
		cmocka_unit_test(a_mistake_is_named),
		cmocka_unit_test(files_are_operators_or_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
