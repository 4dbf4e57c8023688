/* SPDX-License-Identifier: Apache-2.0 */
#include "analyze.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "cli.h"
#include "findings.h"
#include "json.h"
#include "kube.h"
#include "kube_kinds.h"
#include "model/model.h"
#include "source/json_pool.h"
#include "source/mesh_config.h"
#include "source/schema.h"
#include "without_effect.h"

#define FILES_MAX  256
#define EXIT_FOUND 79 /* istioctl's */
#define GROW       256
#define KEY_MAX    1024

struct analyze_options {
	const char *namespace_, *output, *failure, *shown, *no_matter;
	struct option_list suppressed;
	bool is_all, is_kube, is_recursive, is_tolerant, is_verbose, is_colored;
};

#define AT(f) offsetof(struct analyze_options, f)

static const struct option_def defs[] = {
	{.name = "all-namespaces",
	 .short_name = 'A',
	 .type = OPTION_BOOL,
	 .offset = AT(is_all),
	 .help = "look at every namespace"},
	{.name = "namespace",
	 .short_name = 'n',
	 .type = OPTION_STRING,
	 .offset = AT(namespace_),
	 .value_name = "NS",
	 .help = "look at this one (default: that of the context); objects in files that name none "
		 "are in it"},
	{.name = "use-kube",
	 .short_name = 'k',
	 .type = OPTION_BOOL,
	 .offset = AT(is_kube),
	 .default_value = "true",
	 .help = "--use-kube=false: the files alone"},
	{.name = "recursive",
	 .short_name = 'R',
	 .type = OPTION_BOOL,
	 .offset = AT(is_recursive),
	 .help = "the folders in folders, too"},
	{.name = "failure-threshold",
	 .type = OPTION_STRING,
	 .offset = AT(failure),
	 .default_value = "Error",
	 .value_name = "LEVEL",
	 .help = "Info, Warning or Error: from which on the exit code is 79"},
	{.name = "output-threshold",
	 .type = OPTION_STRING,
	 .offset = AT(shown),
	 .default_value = "Info",
	 .value_name = "LEVEL",
	 .help = "from which on something is shown"},
	{.name = "suppress",
	 .short_name = 'S',
	 .type = OPTION_LIST,
	 .offset = AT(suppressed),
	 .value_name = "CODE=OBJECT",
	 .help = "leave out, as \"IST0102=Namespace default\", \"IST0107=Pod *.shop\" or "
		 "\"IST0107=Pod shop/*\"; * stands for anything; may be given again, or several "
		 "with commas"},
	{.name = "ignore-unknown",
	 .type = OPTION_BOOL,
	 .offset = AT(is_tolerant),
	 .help = "say nothing of documents that are no YAML, no object, or of no kind that is "
		 "read"},
	{.name = "color",
	 .type = OPTION_BOOL,
	 .offset = AT(is_colored),
	 .default_value = "true",
	 .help = "--color=false: none, not even on a terminal"},
	{.name = "verbose",
	 .short_name = 'v',
	 .type = OPTION_BOOL,
	 .offset = AT(is_verbose),
	 .help = "say on stderr how many objects were looked at"},
	{.name = "timeout",
	 .type = OPTION_STRING,
	 .offset = AT(no_matter),
	 .value_name = "DURATION",
	 .help = "istioctl's; a request here may be silent for 15 s"},
	{.name = "revision",
	 .type = OPTION_STRING,
	 .offset = AT(no_matter),
	 .value_name = "NAME",
	 .help = "istioctl's; each revision heeds all objects"},
	CLI_OPTION_OUTPUT(AT(output)),
	{0},
};

/* What is read of a cluster; those that it does not have are empty. */
static const struct {
	const char *kind, *plural;
} lists[] = {
	{"Namespace", "namespaces"},
	{"Pod", "pods"},
	{"Service", "services"},
	{"AuthorizationPolicy", "authorizationpolicies"},
	{"PeerAuthentication", "peerauthentications"},
	{"ServiceEntry", "serviceentries"},
	{"WorkloadEntry", "workloadentries"},
	{"WorkloadGroup", "workloadgroups"},
	{"Telemetry", "telemetries"},
};

/* Names are bounded by the API server; those of files that are longer are told apart no further. */
static void key_of(char key[KEY_MAX], const char *kind, const char *ns, const char *name)
{
	(void)snprintf(key, KEY_MAX, "%s/%s/%s", kind, ns, name);
}

const struct object *analysis_find(const struct analysis *a, const char *kind, const char *ns,
				   const char *name)
{
	char key[KEY_MAX];
	uintptr_t place;

	key_of(key, kind, ns, name);
	place = a->places ? (uintptr_t)map_get_str(a->places, key) : 0;
	return place ? a->objects[place - 1] : NULL;
}

static int objects_grow(struct analysis *a)
{
	struct object **more;

	if (a->count % GROW != 0)
		return 0;
	more = realloc(a->objects, (a->count + GROW) * sizeof(struct object *));
	if (!more)
		return -ENOMEM;
	a->objects = more;
	return 0;
}

int analysis_add(struct analysis *a, struct object *o)
{
	char key[KEY_MAX];
	uintptr_t place;
	int r = a->places ? 0 : map_new(&a->places);

	if (r < 0)
		return r;
	key_of(key, o->kind, o->namespace_, o->name);
	place = (uintptr_t)map_get_str(a->places, key);
	if (place) {
		object_unref(a->objects[place - 1]);
		a->objects[place - 1] = object_ref(o);
		return 0;
	}
	r = objects_grow(a);
	if (r == 0)
		r = map_put_str(a->places, key, (void *)(a->count + 1));
	if (r == 0)
		a->objects[a->count++] = object_ref(o);
	return r;
}

void analysis_reset(struct analysis *a)
{
	for (size_t i = 0; i < a->count; i++)
		object_unref(a->objects[i]);
	free(a->objects);
	(void)map_free(a->places);
	json_decref(a->findings);
	json_decref(a->unwanted);
	memset(a, 0, sizeof(*a));
}

void analysis_tell(struct analysis *a, const struct source_error *e)
{
	bool is_unread = without_effect_is(e->kind);
	bool is_known = !*e->kind || is_unread || schema_kind_find(e->kind);
	const char *where = streq(e->kind, "Namespace") ? e->name : e->namespace_;
	char origin[600], reference[600];
	const struct finding f = {
		.level = !is_known       ? FINDING_INFO
			 : e->is_warning ? FINDING_WARNING
					 : FINDING_ERROR,
		.code = !is_known || (is_unread && e->is_warning) ? "CUL0005"
			: e->is_warning                           ? "IST0133"
								  : "IST0106",
		.origin = origin,
		.reference = *e->file && e->line ? reference : NULL,
	};

	if (a->only && *where && !streq(a->only, where))
		return;
	if (a->is_tolerant && (!*e->kind || !is_known))
		return;
	analysis_origin(
		origin, sizeof(origin),
		&(struct analysis_name){*e->kind ? e->kind : "file", e->namespace_, e->name});
	(void)snprintf(reference, sizeof(reference), "%s:%u", e->file, e->line);
	(void)str_utf8(origin);
	(void)str_utf8(reference);
	findings_add(a->findings, &f, "%s%s%s", e->field, *e->field ? ": " : "", e->message);
}

static void on_error(void *arg, const struct source_error *e)
{
	analysis_tell(arg, e);
}

static void on_cleared(void *arg, const char *kind, const char *namespace_, const char *name)
{
}

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len)
{
	return 0;
}

static void on_removed(void *arg, enum xds_type type, const char *name)
{
}

static const struct model_ops model_ops = {
	.on_resource = on_resource,
	.on_removed = on_removed,
	.on_error = on_error,
	.on_error_cleared = on_cleared,
};

/* What the control plane would say: its own model looks at them, and leaves of pods what it reads.
 */
static int model_says(struct analysis *a)
{
	const struct model_config config = {0};
	_cleanup_(json_pool_freep) struct json_pool *labels = NULL;
	_cleanup_(model_freep) struct model *m = NULL;
	int r = model_new(&model_ops, a, &config, &m);

	if (r == 0)
		r = json_pool_new(&labels);
	for (size_t i = 0; i < a->count && r == 0; i++) {
		r = object_reduce(a->objects[i], labels);
		if (r == 0)
			r = model_put(m, a->objects[i]);
	}
	return r < 0 ? r : model_flush(m);
}

/* Is it one that a control plane reads, of whichever revision? */
static bool is_mesh_config(const struct object *o)
{
	size_t n = strlen(MESH_CONFIG_NAME);

	return streq(o->kind, "ConfigMap") && streq(o->namespace_, KUBE_MESH_NAMESPACE) &&
	       str_has_prefix(o->name, MESH_CONFIG_NAME) &&
	       (o->name[n] == '\0' || o->name[n] == '-');
}

/* What the control plane says when it reads the mesh's configuration: it may wait for ever. */
static int mesh_config_says(struct analysis *a)
{
	int r = 0;

	for (size_t i = 0; i < a->count && r != -ENOMEM; i++) {
		struct mesh_config mesh = {0};

		if (!is_mesh_config(a->objects[i]))
			continue;
		r = mesh_config_read(a->objects[i], on_error, a, &mesh);
		mesh_config_clear(&mesh);
	}
	return r == -ENOMEM ? r : 0;
}

int analysis_run(struct analysis *a)
{
	int r;

	analysis_checks(a);
	r = mesh_config_says(a);
	if (r == 0)
		r = model_says(a);
	findings_sort(a->findings);
	return r;
}

/** struct checked - an object of a cluster whose schema is looked at. */
struct checked {
	struct analysis *a;
	const struct object *object;
	bool is_bad;
};

static void checked_tell(struct checked *c, const char *field, const char *message, bool is_warning)
{
	const struct source_error e = {.file = "",
				       .kind = c->object->kind,
				       .namespace_ = c->object->namespace_,
				       .name = c->object->name,
				       .field = field,
				       .message = message,
				       .is_warning = is_warning};

	analysis_tell(c->a, &e);
}

static void on_problem(void *arg, const char *field, const char *message)
{
	struct checked *c = arg;

	c->is_bad = true;
	checked_tell(c, field, message, false);
}

static void on_doubt(void *arg, const char *field, const char *message)
{
	checked_tell(arg, field, message, true);
}

/* Kubernetes' own kinds have been checked by the API server. */
static bool is_fine(struct analysis *a, const struct object *o)
{
	const struct schema_kind *kind =
		schema_kind_of(json_text(o->body, "apiVersion", ""), o->kind);
	struct checked c = {.a = a, .object = o};
	struct schema_report report = {.on_problem = on_problem, .arg = &c};
	struct schema_report doubts = {.on_problem = on_doubt, .arg = &c};

	if (!kind || !strstr(kind->api_versions[0], "istio.io/"))
		return true;
	report.is_lenient = kind->is_unread;
	if (schema_check(kind, o->body, &report) == 0)
		(void)schema_doubts(kind, o->body, &doubts);
	return !c.is_bad;
}

static int take_cluster_object(struct analysis *a, json_t *body, const char *kind)
{
	_cleanup_(object_unrefp) struct object *o = NULL;
	int r;

	(void)json_object_set_new(body, "kind", json_string(kind));
	r = object_new_json(json_incref(body), &o);
	if (r < 0)
		return r == -EINVAL ? 0 : r;
	suppress_note(a, &(struct analysis_name){o->kind, o->namespace_, o->name}, o->body);
	return is_fine(a, o) ? analysis_add(a, o) : 0;
}

/* take_cluster() - @ns: NULL: of all namespaces. Return: 0; 1. */
static int take_cluster(struct analysis *a, struct kube *k, const char *ns)
{
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		const struct schema_kind *kind = schema_kind_find(lists[i].kind);
		_cleanup_(json_decrefp) json_t *items = NULL;
		int r = kube_list_served(k, kind->api_versions, kind->is_namespaced ? ns : NULL,
					 lists[i].plural, &items);
		json_t *one;
		size_t n;

		if (r == -ENOENT)
			continue;
		json_array_foreach (items, n, one)
			if (r == 0)
				r = take_cluster_object(a, one, kind->kind);
		if (r < 0)
			return kube_fail(k, kind->kind);
	}
	return 0;
}

static void on_without_effect(void *arg, const char *kind, const json_t *object,
			      const char *message)
{
	_cleanup_(freep) char *origin = str_format("%s %s%s%s", kind, kube_ns(object),
						   *kube_ns(object) ? "/" : "", kube_name(object));
	const struct finding f = {
		.level = FINDING_WARNING, .code = "CUL0005", .origin = origin ? origin : kind};
	_cleanup_(object_unrefp) struct object *o = NULL;

	suppress_note(arg, &(struct analysis_name){kind, kube_ns(object), kube_name(object)},
		      object);
	if (object_new_json(json_copy((json_t *)(uintptr_t)object), &o) == 0)
		(void)is_fine(arg, o);
	findings_add(((struct analysis *)arg)->findings, &f, "%s", message);
}

/* suppress() - what nobody wants to hear of goes. */
static void suppress(const struct analysis *a, const struct analyze_options *o)
{
	json_t *findings = a->findings;

	for (size_t i = json_array_size(findings); i-- > 0;) {
		const json_t *f = json_array_get(findings, i);

		if (suppress_is_meant(&o->suppressed, f) || suppress_is_noted(a, f))
			(void)json_array_remove(findings, i);
	}
}

/* leave() - only what is to be shown stays. */
static void leave(json_t *findings, enum finding_level shown)
{
	for (size_t i = json_array_size(findings); i-- > 0;)
		if (findings_level(json_text(json_array_get(findings, i), "level", "")) < shown)
			(void)json_array_remove(findings, i);
}

static void print_where(const struct analysis *a, const struct analyze_options *o)
{
	if (!a->has_cluster)
		puts("✔ No validation issues found when analyzing the files.");
	else if (o->is_all)
		puts("✔ No validation issues found when analyzing all namespaces.");
	else
		printf("✔ No validation issues found when analyzing namespace: %s.\n", a->only);
}

/* show() - what is not shown counts all the same, as istioctl has it. */
static int show(const struct analysis *a, const struct analyze_options *o)
{
	size_t failures = findings_count(a->findings, findings_level(o->failure));
	bool is_none;

	leave(a->findings, findings_level(o->shown));
	is_none = json_array_size(a->findings) == 0;
	if (!streq(o->output, "short"))
		json_print(a->findings, o->output);
	else if (is_none && failures == 0)
		print_where(a, o);
	else
		findings_print(a->findings);
	if (is_none && failures > 0)
		(void)cli_fail("analyze: %zu of --failure-threshold, which --output-threshold "
			       "does not show",
			       failures);
	return failures > 0 ? EXIT_FOUND : 0;
}

/* @ret: the cluster, whose namespace a->only may be. */
static int gather(struct analysis *a, const struct analyze_options *o, char **files, int n,
		  struct kube **ret)
{
	struct kube *k;
	bool is_mesh;
	int r = 0;

	if (o->is_kube && (n == 0 || kube_is_there())) {
		r = kube_open(ret);
		if (r != 0)
			return r;
		k = *ret;
		a->has_cluster = true;
		if (!o->is_all)
			a->only = o->namespace_ ? o->namespace_ : kube_namespace(k);
		is_mesh = a->only && streq(a->only, KUBE_MESH_NAMESPACE);
		/* what the mesh's own namespace says is about the pods of all */
		r = take_cluster(a, k, is_mesh ? NULL : a->only);
		/* one that is not there has no mistakes, and its name is one */
		if (r == 0 && a->only && !analysis_find(a, "Namespace", "", a->only))
			r = cli_fail("analyze: namespace \"%s\" not found (-A: all of them)",
				     a->only);
		if (r == 0 && a->only && !is_mesh)
			r = take_cluster(a, k, KUBE_MESH_NAMESPACE);
		if (r == 0 && without_effect_each(k, a->only, on_without_effect, a) < 0)
			r = kube_fail(k, "analyze");
	}
	a->file_namespace = a->only ? a->only : o->namespace_;
	for (int i = 0; i < n && r == 0; i++)
		r = analysis_take_path(a, files[i], o->is_recursive);
	return r;
}

static int work(const struct analyze_options *o, char **files, int n)
{
	struct analysis a = {.findings = json_array(), .is_tolerant = o->is_tolerant};
	_cleanup_(kube_closep) struct kube *k = NULL;
	int r = gather(&a, o, files, n, &k);

	if (r == 0 && analysis_run(&a) < 0)
		r = cli_fail("out of memory");
	if (r == 0 && o->is_verbose)
		(void)fprintf(stderr, "culvert: analyze: %zu objects were looked at\n", a.count);
	if (r == 0) {
		suppress(&a, o);
		r = show(&a, o);
	}
	analysis_reset(&a);
	return r;
}

int cli_analyze(int argc, char **argv)
{
	static const struct cli_syntax syntax = {
		.defs = defs,
		.usage = "culvert analyze [-A | -n NS] [--use-kube=false] [FILE]...",
		.help = "Look for mistakes in the objects of the cluster, and in files (- is "
			"stdin) as if they "
			"were applied: labels that enrol nobody, selectors that nothing answers "
			"to, "
			"fields that are wrong or without effect. Exit code 79 when there is one "
			"of "
			"--failure-threshold.",
		.max_rest = FILES_MAX,
	};
	struct analyze_options o = {0};
	int r = cli_parse(&syntax, &o, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (cli_check_output("analyze", &o.output) > 0)
		return 2;
	if (findings_level(o.failure) == FINDING_LEVELS ||
	    findings_level(o.shown) == FINDING_LEVELS) {
		(void)cli_fail("analyze: a level is Info, Warning or Error");
		return 2;
	}
	if (!o.is_kube && r == argc) {
		(void)cli_fail("analyze: --use-kube=false, and no file\nUsage: %s", syntax.usage);
		return 2;
	}
	if (suppress_check(&o.suppressed) < 0)
		return 2;
	if (!o.is_colored)
		(void)setenv("NO_COLOR", "1", 1);
	return work(&o, argv + r, argc - r);
}
