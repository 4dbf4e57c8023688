/* SPDX-License-Identifier: Apache-2.0 */
#include "revisions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "cli.h"
#include "install.h"
#include "json.h"
#include "kube_kinds.h"
#include "source/mesh_config.h"
#include "source/object.h"

#define CONTROLS                                                                                   \
	"/apis/apps/v1/namespaces/" KUBE_MESH_NAMESPACE "/deployments?labelSelector=app%3Distiod"
#define NODES   "/apis/apps/v1/namespaces/" KUBE_MESH_NAMESPACE "/daemonsets/ztunnel"
#define RECORDS "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/configmaps?labelSelector=" INSTALL_LABEL
#define OBJECTS                                                                                    \
	"/apis/admissionregistration.k8s.io/v1/"                                                   \
	"validatingwebhookconfigurations/" INSTALL_DEFAULT_VALIDATOR
#define CONFIGS "/api/v1/namespaces/" KUBE_MESH_NAMESPACE "/configmaps/" MESH_CONFIG_NAME
#define SERVICE "istiod"

bool revision_is_ours(const json_t *object)
{
	const json_t *spec = json_object_get(json_object_get(object, "spec"), "template");
	const json_t *containers = json_object_get(json_object_get(spec, "spec"), "containers");
	const json_t *command = json_object_get(json_array_get(containers, 0), "command");
	const char *first = json_string_value(json_array_get(command, 0));

	return kube_meta(object, "labels", INSTALL_LABEL) || (first && strstr(first, "culvert"));
}

static const char *or_default(const char *name)
{
	return name && *name ? name : REVISION_DEFAULT;
}

/* entry() - the one called @name, made when it is new. Borrowed; NULL: out of memory. */
static json_t *entry(struct revisions *r, const char *name)
{
	json_t *one = json_object_get(r->all, name);

	if (one)
		return one;
	one = json_object();
	return json_object_set_new(r->all, name, one) < 0 ? NULL : one;
}

static int add_controls(struct kube *k, struct revisions *r)
{
	_cleanup_(json_decrefp) json_t *list = NULL;
	int error = kube_list(k, CONTROLS, &list);
	const json_t *one;
	size_t i;

	if (error < 0)
		return error == -ENOENT ? 0 : error;
	json_array_foreach (list, i, one)
		if (revision_is_ours(one) &&
		    !entry(r, or_default(kube_meta(one, "labels", "istio.io/rev"))))
			return -ENOMEM;
	return 0;
}

static int add_record(struct revisions *r, const json_t *record)
{
	const json_t *data = json_object_get(record, "data");
	json_t *one = entry(r, or_default(json_text(data, "revision", NULL)));
	json_t *spec = json_loads(json_text(data, "spec", "{}"), 0, NULL);

	if (!spec)
		spec = json_object();
	if (json_object_set_new(one, "spec", spec) < 0 ||
	    json_object_set_new(one, "version", json_string(json_text(data, "version", "?"))) < 0)
		return -ENOMEM;
	return 0;
}

static int add_records(struct kube *k, struct revisions *r)
{
	_cleanup_(json_decrefp) json_t *list = NULL;
	int error = kube_list(k, RECORDS, &list);
	const json_t *one;
	size_t i;

	if (error < 0)
		return error == -ENOENT ? 0 : error;
	json_array_foreach (list, i, one) {
		if (!streq(kube_name(one), INSTALL_RECORD) &&
		    !str_has_prefix(kube_name(one), INSTALL_RECORD "-"))
			continue;
		error = add_record(r, one);
		if (error < 0)
			return error;
	}
	return 0;
}

static int find_nodes(struct kube *k, struct revisions *r)
{
	_cleanup_(json_decrefp) json_t *set = NULL;
	const char *owner, *asked;
	int error = kube_get(k, NODES, &set);

	if (error < 0)
		return error == -ENOENT ? 0 : error;
	if (!revision_is_ours(set))
		return 0;
	owner = kube_meta(set, "labels", INSTALL_LABEL);
	asked = kube_meta(set, "labels", "istio.io/rev");
	error = str_copy(r->asked, sizeof(r->asked), or_default(asked));
	if (error == 0)
		error = str_copy(r->nodes, sizeof(r->nodes), or_default(owner ? owner : asked));
	return error;
}

static int find_objects(struct kube *k, struct revisions *r)
{
	_cleanup_(json_decrefp) json_t *hook = NULL;
	const char *service, *name, *owner;
	const json_t *client;
	int error = kube_get(k, OBJECTS, &hook);

	if (error < 0)
		return error == -ENOENT ? 0 : error;
	client = json_object_get(json_array_get(json_object_get(hook, "webhooks"), 0),
				 "clientConfig");
	service = json_text(json_object_get(client, "service"), "name", SERVICE);
	name = str_has_prefix(service, SERVICE "-") ? service + strlen(SERVICE "-")
						    : REVISION_DEFAULT;
	/* of a version in which each revision's Service had the same name, the label knows it */
	owner = kube_meta(hook, "labels", INSTALL_LABEL);
	if (owner && !revisions_has(r, name))
		name = owner;
	return str_copy(r->objects, sizeof(r->objects), name);
}

int revisions_read(struct kube *k, struct revisions *ret)
{
	int r;

	*ret = (struct revisions){.all = json_object()};
	r = ret->all ? add_controls(k, ret) : -ENOMEM;
	if (r == 0)
		r = add_records(k, ret);
	if (r == 0)
		r = find_nodes(k, ret);
	if (r == 0)
		r = find_objects(k, ret);
	return r < 0 ? kube_fail(k, "what is installed") : 0;
}

void revisions_clear(struct revisions *r)
{
	json_decref(r->all);
	r->all = NULL;
}

bool revisions_has(const struct revisions *r, const char *name)
{
	return json_object_get(r->all, name) != NULL;
}

const json_t *revisions_spec(const struct revisions *r, const char *name)
{
	return json_object_get(json_object_get(r->all, name), "spec");
}

const char *revisions_version(const struct revisions *r, const char *name)
{
	return json_text(json_object_get(r->all, name), "version", "?");
}

char *revisions_names(const struct revisions *r)
{
	_cleanup_(json_decrefp) json_t *names = json_array();
	const char *name;
	const json_t *one;

	json_object_foreach (r->all, name, one)
		(void)json_array_append_new(names, json_string(name));
	return json_join(names, ", ");
}

static void on_mistake(void *arg, const struct source_error *err)
{
	/* `culvert analyze` and the status say it */
}

int revisions_trust_domain(struct kube *k, const char *name, char ret[256])
{
	bool is_default = streq(name, REVISION_DEFAULT);
	_cleanup_(freep) char *path =
		str_format(CONFIGS "%s%s", is_default ? "" : "-", is_default ? "" : name);
	_cleanup_(json_decrefp) json_t *map = NULL;
	_cleanup_(object_unrefp) struct object *o = NULL;
	struct mesh_config mesh = {0};
	int r = path ? kube_get(k, path, &map) : -ENOMEM;

	(void)str_copy(ret, 256, "cluster.local");
	if (r < 0)
		return r == -ENOENT ? 0 : kube_fail(k, "MeshConfig");
	r = object_new_json(TAKE_PTR(map), &o);
	if (r == 0 && mesh_config_read(o, on_mistake, NULL, &mesh) == 0 && mesh.trust_domain)
		r = str_copy(ret, 256, mesh.trust_domain);
	mesh_config_clear(&mesh);
	return r < 0 ? cli_fail("MeshConfig of revision %s: %s", name, strerror(-r)) : 0;
}

bool revisions_is_others(const char *owner, const char *name)
{
	return *owner && !streq(owner, name);
}

bool revisions_is_left(const struct revisions *r, const char *name, const json_t *object)
{
	static const char *const of_nodes[] = {"ztunnel", "culvert-ztunnel"};

	for (size_t i = 0; i < ARRAY_SIZE(of_nodes); i++)
		if (streq(kube_name(object), of_nodes[i]))
			return revisions_is_others(r->nodes, name);
	return streq(kube_name(object), INSTALL_DEFAULT_VALIDATOR) &&
	       revisions_is_others(r->objects, name);
}
