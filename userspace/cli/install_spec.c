/* SPDX-License-Identifier: Apache-2.0 */
#include "install_spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "install_mesh.h"
#include "json.h"

#define FILE_MAX_BYTES (1U << 20)

/* Of a component's k8s what the chart has a value for; hpaSpec by the pods that it begins with. */
#define K8S_PLACE                                                                                  \
	"\"resources\":{\"type\":\"object\"},\"nodeSelector\":{\"type\":\"object\"},"              \
	"\"tolerations\":{\"type\":\"array\"}"
#define K8S_PILOT                                                                                  \
	K8S_PLACE ",\"replicaCount\":{\"type\":\"integer\"},"                                      \
		  "\"hpaSpec\":{\"type\":\"object\"}"
#define K8S                                                                                        \
	"\"namespace\":{\"enum\":[\"istio-system\"]},"                                             \
	"\"k8s\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
#define K8S_END "}}"

/* The spec of an IstioOperator, so far as it means something here. */
static const char spec_schema[] =
	"{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
	"\"profile\":{\"type\":\"string\"},\"hub\":{\"type\":\"string\"},"
	"\"tag\":{\"type\":\"string\"},\"revision\":{\"type\":\"string\"},"
	"\"namespace\":{\"enum\":[\"istio-system\"]},"
	"\"meshConfig\":{\"type\":\"object\"},\"values\":{\"type\":\"object\"},"
	"\"components\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
	"\"base\":{\"type\":\"object\",\"additionalProperties\":false,"
	"\"properties\":{\"enabled\":{\"type\":\"boolean\"}}},"
	"\"pilot\":{\"type\":\"object\",\"additionalProperties\":false,"
	"\"properties\":{\"enabled\":{\"enum\":[true]}," K8S K8S_PILOT K8S_END "}},"
	"\"ztunnel\":{\"type\":\"object\",\"additionalProperties\":false,"
	"\"properties\":{\"enabled\":{\"type\":\"boolean\"}," K8S K8S_PLACE K8S_END "}},"
	"\"cni\":{\"type\":\"object\",\"properties\":{\"enabled\":{\"type\":\"boolean\"}}},"
	"\"ingressGateways\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
	"\"properties\":{\"enabled\":{\"type\":\"boolean\"}}}},"
	"\"egressGateways\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
	"\"properties\":{\"enabled\":{\"type\":\"boolean\"}}}}}}}}";

/* Of an IstioOperator file. */
static const char file_schema[] =
	"{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
	"\"apiVersion\":{\"enum\":[\"install.istio.io/v1alpha1\"]},"
	"\"kind\":{\"type\":\"string\"},\"metadata\":{\"type\":\"object\"},\"spec\":{}}}";

/* Where istioctl's short words go in the chart's values. */
static const struct {
	const char *word, *group; /* NULL: at the top */
} shorts[] = {{"hub", "global"}, {"tag", "global"}, {"revision", NULL}, {"meshConfig", NULL}};

struct install_spec {
	json_t *spec;
	json_t *schema; /* of spec; the chart's is in it, at "values" */
	bool is_leaving_nodes, is_leaving_objects;
};

int install_spec_new(struct install_spec **ret)
{
	_cleanup_(install_spec_freep) struct install_spec *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->spec = json_object();
	s->schema = json_loads(spec_schema, 0, NULL);
	if (json_object_set_new(json_object_get(s->schema, "properties"), "values",
				chart_schema()) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(s);
	return 0;
}

int install_spec_merge(struct install_spec *s, const json_t *spec)
{
	return chart_merge(s->spec, spec);
}

void install_spec_leave(struct install_spec *s, bool nodes, bool objects)
{
	s->is_leaving_nodes = nodes;
	s->is_leaving_objects = objects;
}

json_t *install_spec_json(const struct install_spec *s)
{
	return s->spec;
}

static const json_t *values_schema(const struct install_spec *s)
{
	return json_object_get(json_object_get(s->schema, "properties"), "values");
}

int install_spec_set(struct install_spec *s, const char *assignment, char err[CHART_ERROR_MAX])
{
	return chart_set(s->spec, s->schema, assignment, err);
}

static bool is_operator(const json_t *tree)
{
	return streq(json_text(tree, "kind", ""), "IstioOperator");
}

/* merge_file() - @schema is of the kind of file that it is; what it holds is what @text says. */
static int merge_file(struct install_spec *s, const char *path, const char *text, bool is_spec,
		      char *err)
{
	_cleanup_(json_decrefp) json_t *schema = json_loads(file_schema, 0, NULL);
	_cleanup_(json_decrefp) json_t *tree = NULL, *over = NULL;
	int r;

	if (json_object_set(json_object_get(schema, "properties"), "spec", s->schema) < 0)
		return -ENOMEM;
	r = chart_yaml(path, text, is_spec ? schema : values_schema(s), &tree, err);
	if (r < 0)
		return r;
	over = is_spec ? json_incref(json_object_get(tree, "spec"))
		       : json_pack("{sO}", "values", tree);
	return chart_merge(s->spec, over);
}

int install_spec_file(struct install_spec *s, const char *path, char err[CHART_ERROR_MAX])
{
	_cleanup_(freep) char *text = NULL;
	_cleanup_(json_decrefp) json_t *tree = NULL;
	bool is_stdin = streq(path, "-");
	int r = file_read(is_stdin ? "/dev/stdin" : path, FILE_MAX_BYTES, &text, NULL);

	path = is_stdin ? "stdin" : path;
	if (r < 0) {
		(void)snprintf(err, CHART_ERROR_MAX, "%s: %s", path, strerror(-r));
		return r;
	}
	r = chart_yaml(path, text, NULL, &tree, err);
	return r < 0 ? r : merge_file(s, path, text, is_operator(tree), err);
}

/* is_asked() - is any of them enabled? One object, or a list of them. */
static bool is_asked(const json_t *components, const char *name)
{
	const json_t *v = json_object_get(components, name), *one;
	size_t i;

	json_array_foreach (v, i, one)
		if (json_is_true(json_object_get(one, "enabled")))
			return true;
	return json_is_true(json_object_get(v, "enabled"));
}

static int apply_short(json_t *values, const json_t *spec, const char *word, const char *group)
{
	_cleanup_(json_decrefp) json_t *over = NULL;
	json_t *v = json_object_get(spec, word);

	if (!v)
		return 0;
	over = group ? json_pack("{s{sO}}", group, word, v) : json_pack("{sO}", word, v);
	return over ? chart_merge(values, over) : -ENOMEM;
}

/* A component of an IstioOperator, and a value here; the values that are given have the last word.
 */
static int apply_component(json_t *values, const json_t *spec, const char *name)
{
	json_t *component = json_object_get(json_object_get(spec, "components"), name);
	json_t *is_enabled = json_object_get(component, "enabled");

	return is_enabled ? json_object_set(json_object_get(values, name), "enabled", is_enabled)
			  : 0;
}

/* apply_k8s() - what an IstioOperator says of a component's pods: as there it comes over values. */
static int apply_k8s(json_t *values, const json_t *spec, const char *name)
{
	static const char *const keys[] = {"resources", "nodeSelector", "tolerations",
					   "replicaCount"};
	const json_t *component = json_object_get(json_object_get(spec, "components"), name);
	const json_t *k8s = json_object_get(component, "k8s");
	json_t *least = json_object_get(json_object_get(k8s, "hpaSpec"), "minReplicas");
	_cleanup_(json_decrefp) json_t *over = json_object();
	int r = least ? json_object_set(over, "replicaCount", least) : 0;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && r == 0; i++)
		if (json_object_get(k8s, keys[i]))
			r = json_object_set(over, keys[i], json_object_get(k8s, keys[i]));
	return r < 0 ? -ENOMEM : chart_merge(json_object_get(values, name), over);
}

static int apply_shared(json_t *values, const struct install_spec *s)
{
	int r = 0;

	if (s->is_leaving_nodes)
		r = json_object_set_new(json_object_get(values, "ztunnel"), "enabled",
					json_false());
	if (r == 0 && s->is_leaving_objects)
		r = json_object_set_new(values, "defaultRevision", json_string(""));
	return r;
}

/* The revision "default" is the one without a name; no DaemonSet but its own can be told of it. */
static int name_default(json_t *values, char *err)
{
	json_t *ztunnel = json_object_get(values, "ztunnel");
	int r = 0;

	if (streq(json_text(values, "revision", ""), "default"))
		r = json_object_set_new(values, "revision", json_string(""));
	if (r < 0 || !streq(json_text(ztunnel, "revision", ""), "default"))
		return r;
	if (!*json_text(values, "revision", ""))
		return json_object_set_new(ztunnel, "revision", json_string(""));
	(void)snprintf(err, CHART_ERROR_MAX,
		       "ztunnel.revision: default has no name; set ztunnel.enabled=true there");
	return -EINVAL;
}

static int apply(json_t *values, const json_t *spec, char *err)
{
	const json_t *over = json_object_get(spec, "values");
	int r = apply_component(values, spec, "cni");

	if (r == 0)
		r = apply_component(values, spec, "ztunnel");
	if (r == 0 && over)
		r = chart_merge(values, over);
	if (r == 0)
		r = apply_k8s(values, spec, "pilot");
	if (r == 0)
		r = apply_k8s(values, spec, "ztunnel");
	for (size_t i = 0; i < ARRAY_SIZE(shorts) && r == 0; i++)
		r = apply_short(values, spec, shorts[i].word, shorts[i].group);
	return r < 0 ? r : name_default(values, err);
}

/* has_control() - without a control plane no MeshConfig is made of the values. */
static bool has_control(const json_t *values)
{
	return json_is_true(json_object_get(json_object_get(values, "pilot"), "enabled"));
}

int install_spec_plan(const struct install_spec *s, struct install_plan *ret,
		      char err[CHART_ERROR_MAX])
{
	_cleanup_(json_decrefp) json_t *values = NULL;
	const json_t *components = json_object_get(s->spec, "components");
	const json_t *base = json_object_get(components, "base");
	int r = chart_check(s->schema, s->spec, NULL, err);

	if (r == 0)
		r = chart_values(json_text(s->spec, "profile", "default"), &values, err);
	if (r == 0) /* unlike Helm, which makes the namespace before it reads the chart */
		r = json_object_set_new(json_object_get(values, "global"), "createNamespace",
					json_true());
	if (r == 0)
		r = apply_shared(values, s);
	if (r == 0)
		r = apply(values, s->spec, err);
	if (r == 0) /* again, for hub and its kin */
		r = chart_check(values_schema(s), values, NULL, err);
	if (r == 0 && has_control(values))
		r = install_mesh_check(json_object_get(values, "meshConfig"), err);
	if (r < 0)
		return r;
	*ret = (struct install_plan){
		.values = TAKE_PTR(values),
		.has_crds = !json_is_false(json_object_get(base, "enabled")),
		.has_gateways = is_asked(components, "ingressGateways") ||
				is_asked(components, "egressGateways"),
		.has_autoscaler = json_object_get(
			json_object_get(json_object_get(components, "pilot"), "k8s"), "hpaSpec"),
	};
	return 0;
}

struct install_spec *install_spec_free(struct install_spec *s)
{
	if (!s)
		return NULL;
	json_decref(s->spec);
	json_decref(s->schema);
	free(s);
	return NULL;
}
