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

/* A field that names and keys depend on from the start on. */
struct lasting {
	const char *field;
	const char *at_start, *now; /* what the mesh configuration said, and says; NULL: nothing */
	const char *running;
};

static void lasting_compare(struct control *c, const struct object *obj, const struct lasting *l)
{
	char text[512];

	/* left out is as it was, unless it was there when we started and counts since */
	if (l->now ? streq(l->now, l->running) : !l->at_start || !streq(l->at_start, l->running))
		return;
	(void)snprintf(text, sizeof(text),
		       "not in force: it is read when culvert-control starts, if no option says "
		       "otherwise; \"%.200s\" stays",
		       l->running);
	mesh_field_warn(c, obj, l->field, str_utf8(text));
}

void mesh_doubts_tell(struct control *c, const struct object *obj)
{
	static const struct mesh_config none;
	const struct mesh_config *m = &c->mesh;
	const struct mesh_config *start = c->config.mesh_at_start ? c->config.mesh_at_start : &none;

	lasting_compare(c, obj,
			&(struct lasting){"data.mesh.trustDomain", start->trust_domain,
					  m->trust_domain, c->config.trust_domain});
	lasting_compare(c, obj,
			&(struct lasting){"data.mesh.rootNamespace", start->root_namespace,
					  m->root_namespace, c->config.root_namespace});
	if (m->access_log_file && *m->access_log_file &&
	    !streq(m->access_log_file, "/dev/stdout") && !streq(m->access_log_file, "/dev/stderr"))
		mesh_field_warn(c, obj, "data.mesh.accessLogFile",
				"no file of its own: ztunnel writes its connections to its log");
}
