/* SPDX-License-Identifier: Apache-2.0 */
/* service - where a Service and its EndpointSlices are filed, and what a change of them touches. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/impl.h"
#include "model/pack.h"

bool service_is_external(const struct object *o)
{
	const char *type = object_string(o, "spec.type");

	return type && streq(type, "ExternalName");
}

static void service_resource_name(const struct model *m, const struct entity *service, char *buf,
				  size_t size)
{
	const struct object *o = service->object;

	(void)str_concat(buf, size, o->namespace_, "/", SERVICE_HOST(m, o->namespace_, o->name));
}

static void endpoint_target_key(const struct slice *s, const struct endpoint *e,
				char buf[MODEL_KEY_MAX])
{
	const struct object *o = s->e.object;
	char path[64];

	if (!e->is_pod) {
		addr_key(buf, &e->addr);
		return;
	}
	(void)snprintf(path, sizeof(path), "endpoints[%zu].targetRef.name", e->position);
	(void)snprintf(buf, MODEL_KEY_MAX, "pod %s/%s", o->namespace_, object_string(o, path));
}

static void endpoint_pods_mark(struct model *m, const struct slice *s, const struct endpoint *e)
{
	char key[MODEL_KEY_MAX];

	endpoint_target_key(s, e, key);
	if (e->is_pod) {
		struct entity *pod = map_get_str(m->entities[ENTITY_POD], key + strlen("pod "));

		if (pod)
			entity_mark(m, pod);
		return;
	}
	pods_mark_bucket(m, index_find(&m->pods_by_addr, key));
}

/* Workloads name the services that they serve: a change of a service is one of all of its
 * workloads. */
static void service_entries_mark(struct model *m, const struct object *o, const json_t *selector)
{
	const struct index_link *l;

	index_for_each(l, index_find(&m->workload_entries, o->namespace_))
	{
		struct workload_entry *w = l->owner;

		if (labels_match(selector, w->labels))
			entity_mark(m, &w->e);
	}
}

static void service_workloads_mark(struct model *m, const struct service *s)
{
	const struct object *o = s->e.object;
	const struct index_link *l;

	if (json_object_size(s->selector) > 0) {
		selector_mark(m, o->namespace_, s->selector, false);
		service_entries_mark(m, o, s->selector);
	}
	index_for_each(l, index_find(&m->slices_by_service, s->e.key))
	{
		struct slice *slice = l->owner;

		entity_mark(m, &slice->e);
		for (size_t i = 0; i < slice->endpoints_count; i++)
			endpoint_pods_mark(m, slice, &slice->endpoints[i]);
	}
}

void service_unlink(struct model *m, struct service *s)
{
	char name[MODEL_KEY_MAX];

	service_workloads_mark(m, s);
	index_del(&m->services_by_label, &s->in_selector);
	index_del(&m->services_by_namespace, &s->in_namespace);
	service_resource_name(m, &s->e, name, sizeof(name));
	output_unset(m, XDS_ADDRESS, name);
	service_entry_mark_host(m, s->e.object->namespace_, strchr(name, '/') + 1);
}

int service_link(struct model *m, struct service *s)
{
	const struct object *o = s->e.object;
	char name[MODEL_KEY_MAX];
	int r;

	s->selector = object_value(o, "spec.selector");
	r = index_add(&m->services_by_namespace, o->namespace_, s, &s->in_namespace);
	if (r < 0)
		return r;
	if (json_object_size(s->selector) > 0 && !service_is_external(o)) {
		r = selector_file(&m->services_by_label, o->namespace_, s->selector, s,
				  &s->in_selector);
		if (r < 0)
			return r;
	}
	service_workloads_mark(m, s);
	service_resource_name(m, &s->e, name, sizeof(name));
	service_entry_mark_host(m, o->namespace_, strchr(name, '/') + 1);
	return 0;
}

static bool any_pod(void *arg, struct pod *pod)
{
	return true;
}

static void service_report(struct model *m, struct service *s)
{
	const struct object *o = s->e.object;

	if (json_object_size(s->selector) > 0 && !service_is_external(o) &&
	    !selector_pods(m, o->namespace_, s->selector, any_pod, NULL))
		report(m, "spec.selector", true, "matches no pod in namespace %s", o->namespace_);
	if (object_value(o, "spec.sessionAffinityConfig.clientIP.timeoutSeconds"))
		report(m, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", true,
		       "not honoured: a client keeps its endpoint for as long as that serves");
	/* kube-proxy heeds it at the addresses of status.loadBalancer.ingress, from pods as well */
	if (json_array_size(object_value(o, "spec.loadBalancerSourceRanges")) > 0)
		report(m, "spec.loadBalancerSourceRanges", true,
		       "not honoured for pods of the mesh: they are let in at the load balancer's "
		       "address, wherever they are; an AuthorizationPolicy can refuse them. What "
		       "comes from outside the mesh is left to kube-proxy");
	distribution_report(m, o);
	report_waypoint(m, o);
}

int service_flush(struct model *m, struct service *s)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	char name[MODEL_KEY_MAX];
	const ProtobufCMessage *msg;

	service_report(m, s);
	/* The names of external services are DNS's to answer. */
	if (service_is_external(s->e.object))
		return 0;
	msg = pack_service(m, s, &a);
	if (!msg || a.error)
		return -ENOMEM;
	service_resource_name(m, &s->e, name, sizeof(name));
	return output_set(m, XDS_ADDRESS, name, msg);
}

struct service *slice_service(const struct model *m, const struct slice *s)
{
	const char *name = object_label(s->e.object, SERVICE_NAME_LABEL);

	return name ? (struct service *)entity_find(m, ENTITY_SERVICE, s->e.object->namespace_,
						    name)
		    : NULL;
}

static size_t endpoint_addresses(const json_t *one)
{
	const json_t *ref = json_object_get(one, "targetRef");
	const char *kind = json_string_value(json_object_get(ref, "kind"));

	/* A pod is known by its name: its addresses are its own. */
	if (kind && streq(kind, "Pod") && json_string_value(json_object_get(ref, "name")))
		return 0;
	return json_array_size(json_object_get(one, "addresses"));
}

static void endpoint_read(struct slice *s, const json_t *one, size_t position)
{
	size_t n = endpoint_addresses(one);
	struct endpoint e = {
		.position = position,
		.is_ready = !json_is_false(
			json_object_get(json_object_get(one, "conditions"), "ready")),
		.is_pod = n == 0,
	};

	if (n == 0)
		s->endpoints[s->endpoints_count++] = e;
	for (size_t i = 0; i < n; i++) {
		const char *text =
			json_string_value(json_array_get(json_object_get(one, "addresses"), i));

		if (text && cv_addr_parse(text, &e.addr) == 0)
			s->endpoints[s->endpoints_count++] = e;
	}
}

static int slice_read(struct slice *s)
{
	const json_t *list = object_value(s->e.object, "endpoints"), *one;
	size_t i, n = 1;

	json_array_foreach (list, i, one)
		n += MAX(endpoint_addresses(one), 1U);
	s->endpoints = calloc(n, sizeof(*s->endpoints));
	if (!s->endpoints)
		return -ENOMEM;
	json_array_foreach (list, i, one)
		endpoint_read(s, one, i);
	return 0;
}

/* Whether a service has slices decides whether its selector counts. */
static void slice_service_mark(struct model *m, const struct slice *s, size_t count)
{
	const struct service *service = slice_service(m, s);
	const char *name = object_label(s->e.object, SERVICE_NAME_LABEL);
	char key[MODEL_KEY_MAX];

	if (!service)
		return;
	(void)snprintf(key, sizeof(key), "%s/%s", s->e.object->namespace_, name);
	if (index_count(&m->slices_by_service, key) == count)
		service_workloads_mark(m, service);
}

void slice_unlink(struct model *m, struct slice *s)
{
	for (size_t i = 0; i < s->endpoints_count; i++) {
		endpoint_pods_mark(m, s, &s->endpoints[i]);
		index_del(&m->endpoints_by_target, &s->endpoints[i].link);
		index_del(&m->slices_by_node, &s->endpoints[i].in_node);
	}
	index_del(&m->slices_by_service, &s->in_service);
	slice_service_mark(m, s, 0);
	outputs_unset(m, &s->outputs);
	free(s->endpoints);
	s->endpoints = NULL;
	s->endpoints_count = 0;
}

static int endpoint_link(struct model *m, struct slice *s, struct endpoint *e)
{
	const json_t *one = json_array_get(object_value(s->e.object, "endpoints"), e->position);
	const char *node = json_string_value(json_object_get(one, "nodeName"));
	char key[MODEL_KEY_MAX];
	int r;

	endpoint_target_key(s, e, key);
	r = index_add(&m->endpoints_by_target, key, s, &e->link);
	if (r < 0)
		return r;
	endpoint_pods_mark(m, s, e);
	return e->is_pod || !node ? 0 : index_add(&m->slices_by_node, node, s, &e->in_node);
}

int slice_link(struct model *m, struct slice *s)
{
	const char *service = object_label(s->e.object, SERVICE_NAME_LABEL);
	char key[MODEL_KEY_MAX];
	int r;

	if (!service)
		return 0;
	(void)snprintf(key, sizeof(key), "%s/%s", s->e.object->namespace_, service);
	r = index_add(&m->slices_by_service, key, s, &s->in_service);
	if (r < 0)
		return r;
	r = slice_read(s);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->endpoints_count; i++) {
		r = endpoint_link(m, s, &s->endpoints[i]);
		if (r < 0)
			return r;
	}
	slice_service_mark(m, s, 1);
	return 0;
}

static int slice_output_add(struct model *m, struct slice *s, const struct endpoint *e)
{
	_cleanup_(scratch_resetp) struct scratch a = {0};
	const ProtobufCMessage *msg;
	struct slice_output *o;
	char addr[CV_ADDR_STRLEN], name[MODEL_KEY_MAX];
	size_t size;

	(void)snprintf(name, sizeof(name), "%s/discovery.k8s.io/EndpointSlice/%s/%s", m->cluster_id,
		       s->e.key, cv_addr_format(&e->addr, addr));
	msg = pack_endpoint(m, s, e, name, &a);
	if (!msg || a.error)
		return -ENOMEM;
	size = strlen(name) + 1;
	o = malloc(sizeof(*o) + size);
	if (!o)
		return -ENOMEM;
	memcpy(o->name, name, size);
	list_add_tail(&s->outputs, &o->link);
	return output_set(m, XDS_ADDRESS, name, msg);
}

/* Is this an address that no pod has? Traffic to a pod's own address is the pod's, whoever lists
 * it. */
static bool endpoint_is_manual(const struct model *m, const struct endpoint *e,
			       bool wants_not_ready)
{
	char key[MODEL_KEY_MAX];

	if (e->is_pod || (!e->is_ready && !wants_not_ready))
		return false;
	addr_key(key, &e->addr);
	return !index_find(&m->pods_by_addr, key);
}

int slice_flush(struct model *m, struct slice *s)
{
	const struct service *service = slice_service(m, s);
	const char *type = object_string(s->e.object, "addressType");
	bool wants_not_ready;
	int r;

	outputs_unset(m, &s->outputs);
	if (!object_label(s->e.object, SERVICE_NAME_LABEL))
		report(m, "metadata.labels", true,
		       "without label " SERVICE_NAME_LABEL " it serves nothing");
	if (type && streq(type, "FQDN"))
		report(m, "addressType", true, "FQDN endpoints are not served");
	if (!service || service_is_external(service->e.object))
		return 0;
	wants_not_ready =
		json_is_true(object_value(service->e.object, "spec.publishNotReadyAddresses"));
	for (size_t i = 0; i < s->endpoints_count; i++) {
		if (!endpoint_is_manual(m, &s->endpoints[i], wants_not_ready))
			continue;
		r = slice_output_add(m, s, &s->endpoints[i]);
		if (r < 0)
			return r;
	}
	return 0;
}
