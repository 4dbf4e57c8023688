/* SPDX-License-Identifier: Apache-2.0 */
#include "mesh_doubts.h"

#include <stdio.h>

#include "base/str.h"
#include "control_internal.h"

static void mesh_field_warn(struct control *c, const struct object *obj, const char *field,
			    const char *message)
{
	const struct source_error err = {
		.file = obj->file,
		.line = object_line(obj, "data.mesh"),
		.kind = obj->kind,
		.namespace_ = obj->namespace_,
		.name = obj->name,
		.field = field,
		.message = message,
		.is_warning = true,
	};

	problems_add(c->problems, PROBLEM_MODEL, &err);
}

/* Names and keys depend on these from the start on. */
static void mesh_field_compare(struct control *c, const struct object *obj, const char *field,
			       const char *value, const char *at_start, const char *running)
{
	char text[512];

	/* left out is as it was, unless it was there when we started and counts since */
	if (value ? streq(value, running) : !at_start || !streq(at_start, running))
		return;
	(void)snprintf(text, sizeof(text),
		       "not in force: it is read when culvert-control starts, if no option says "
		       "otherwise; \"%.200s\" stays",
		       running);
	mesh_field_warn(c, obj, field, str_utf8(text));
}

void mesh_doubts_tell(struct control *c, const struct object *obj)
{
	static const struct mesh_config none;
	const struct mesh_config *m = &c->mesh;
	const struct mesh_config *start = c->config.mesh_at_start ? c->config.mesh_at_start : &none;

	mesh_field_compare(c, obj, "data.mesh.trustDomain", m->trust_domain, start->trust_domain,
			   c->config.trust_domain);
	mesh_field_compare(c, obj, "data.mesh.rootNamespace", m->root_namespace,
			   start->root_namespace, c->config.root_namespace);
	if (m->access_log_file && *m->access_log_file &&
	    !streq(m->access_log_file, "/dev/stdout") && !streq(m->access_log_file, "/dev/stderr"))
		mesh_field_warn(c, obj, "data.mesh.accessLogFile",
				"no file of its own: ztunnel writes its connections to its log");
}
