/* SPDX-License-Identifier: Apache-2.0 */
/* analyze_templates - the Pods that a Deployment or its like in a file would make. In a cluster
 * they are there; of files alone nothing would answer to any selector. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analyze.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "json.h"
#include "kube_kinds.h"

static const struct maker {
	const char *kind, *api_version, *path; /* where its template is */
} makers[] = {
	{"Deployment", "apps/v1", "spec.template"},
	{"StatefulSet", "apps/v1", "spec.template"},
	{"DaemonSet", "apps/v1", "spec.template"},
	{"ReplicaSet", "apps/v1", "spec.template"},
	{"ReplicationController", "v1", "spec.template"},
	{"Job", "batch/v1", "spec.template"},
	{"CronJob", "batch/v1", "spec.jobTemplate.spec.template"},
	{0},
};

static const struct maker *maker_find(const struct object *o)
{
	const char *version = object_string(o, "apiVersion");

	for (const struct maker *m = makers; m->kind; m++)
		if (version && streq(m->kind, o->kind) && streq(m->api_version, version))
			return m;
	return NULL;
}

/* The tree is the template's own, so that its lines fit; metadata.name of a Pod nobody reads in it.
 */
static int pod_new(const struct object *owner, const struct maker *m, const char *fallback,
		   struct object **ret)
{
	const char *ns = kube_ns(owner->body), *name = kube_name(owner->body);
	json_t *template = object_value(owner, m->path);
	_cleanup_(freep) char *full = NULL;
	struct object_init init = {.kind = "Pod",
				   .namespace_ = *ns ? ns : fallback,
				   .file = owner->file,
				   .line = object_line(owner, m->path)};

	if (!*name) /* of Jobs that are created, not applied */
		name = json_text(json_object_get(owner->body, "metadata"), "generateName", "");
	full = str_format("%s/%s", m->kind, name);
	if (!full || object_lines(owner, m->path, &init.lines, &init.lines_count) < 0)
		return -ENOMEM;
	init.name = full;
	init.body = json_incref(template);
	return object_new(&init, ret);
}

int analysis_add_template(struct analysis *a, const struct object *owner)
{
	_cleanup_(object_unrefp) struct object *pod = NULL;
	const struct maker *m = maker_find(owner);
	int r;

	if (!m)
		return 0;
	r = pod_new(owner, m, a->file_namespace ? a->file_namespace : "default", &pod);
	if (r == 0) {
		suppress_note(a, &(struct analysis_name){pod->kind, pod->namespace_, pod->name},
			      owner->body);
		r = analysis_add(a, pod);
	}
	return r < 0 && r != -EINVAL ? r : 1;
}

void analysis_origin(char *ret, size_t size, const struct analysis_name *n)
{
	const char *kind = n->kind, *name = n->name, *slash = strchr(name, '/');
	int len = (int)strlen(kind);

	if (streq(kind, "Pod") && slash) {
		kind = name;
		len = (int)(slash - name);
		name = slash + 1;
	}
	(void)snprintf(ret, size, "%.*s%s%s%s%s", len, kind, *n->namespace_ || *name ? " " : "",
		       n->namespace_, *n->namespace_ ? "/" : "", name);
}
