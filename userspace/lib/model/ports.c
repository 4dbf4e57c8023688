/* SPDX-License-Identifier: Apache-2.0 */
/* ports - a service's ports, and where each leads at one endpoint. Only TCP: the mesh carries
 * nothing else. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "model/pack.h"
#include "userspace/lib/xds/workload.pb-c.h"

bool service_port_is_tcp(const json_t *port)
{
	const char *s = json_string_value(json_object_get(port, "protocol"));

	return !s || streq(s, "TCP");
}

/* Kubernetes' appProtocol, else Istio's habit of naming ports "<protocol>-<anything>". */
static Istio__Workload__Port__AppProtocol app_protocol(const json_t *port)
{
	static const struct {
		const char *word;
		Istio__Workload__Port__AppProtocol value;
	} words[] = {
		{"http", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP11},
		{"http2", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP2},
		{"h2c", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP2},
		{"kubernetes.io/h2c", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__HTTP2},
		{"grpc", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__GRPC},
		{"tcp", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TCP},
		{"tls", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS},
		{"https", ISTIO__WORKLOAD__PORT__APP_PROTOCOL__TLS},
	};
	const char *s = json_string_value(json_object_get(port, "appProtocol"));
	size_t n;

	if (!s)
		s = json_string_value(json_object_get(port, "name"));
	if (!s)
		return ISTIO__WORKLOAD__PORT__APP_PROTOCOL__UNKNOWN;
	n = strchr(s, '/') ? strlen(s) : strcspn(s, "-");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strlen(words[i].word) == n && strncmp(words[i].word, s, n) == 0)
			return words[i].value;
	return ISTIO__WORKLOAD__PORT__APP_PROTOCOL__UNKNOWN;
}

static int list_init_for(struct scratch *a, const json_t *ports, struct port_list *ret)
{
	ret->count = 0;
	ret->ports = scratch_alloc(a, (json_array_size(ports) + 1) * sizeof(*ret->ports));
	return ret->ports ? 0 : -ENOMEM;
}

/* Not among the list's ports. */
#define NOWHERE UINT32_MAX

/* Of TCP alone, and never a number that is none of a port: an EndpointSlice's may be any, and who
 * is told of one may refuse all of the workload. */
static int list_add_port(struct scratch *a, struct port_list *list, const json_t *service_port,
			 uint32_t target)
{
	uint16_t number = json_port(service_port, "port");
	Istio__Workload__Port *p;

	if (target == NOWHERE || !number || !service_port_is_tcp(service_port))
		return 0;
	p = scratch_alloc(a, sizeof(*p));
	if (!p)
		return -ENOMEM;
	istio__workload__port__init(p);
	p->service_port = number;
	p->target_port = target;
	p->app_protocol = app_protocol(service_port);
	list->ports[list->count++] = p;
	return 0;
}

/* Where a service port leads: its number, or 0 when it is none, or a name (@pod NULL), or a name
 * that the pod does not have. */
static uint32_t target_of(const json_t *service_port, const struct pod_facts *pod)
{
	const json_t *target = json_object_get(service_port, "targetPort");
	const char *name = json_string_value(target);

	if (!name)
		return json_port(service_port, json_is_integer(target) ? "targetPort" : "port");
	return pod ? pod_facts_port(pod, name) : 0;
}

bool service_has_named_targets(const struct object *service)
{
	const json_t *port;
	size_t i;

	json_array_foreach (object_value(service, "spec.ports"), i, port)
		if (json_is_string(json_object_get(port, "targetPort")))
			return true;
	return false;
}

/* Where a port leads, 0: where a name says, which differs by pod; or NOWHERE. */
typedef uint32_t where_fn(const json_t *service_port, const void *at);

/* list_fill() - the TCP ports of @service, with what @where says of each. */
static int list_fill(struct port_list *list, const struct object *service, where_fn *where,
		     const void *at, struct scratch *a)
{
	const json_t *ports = object_value(service, "spec.ports"), *port;
	size_t i;
	int r;

	r = list_init_for(a, ports, list);
	json_array_foreach (ports, i, port) {
		if (r == 0)
			r = list_add_port(a, list, port, where(port, at));
	}
	return r;
}

static uint32_t anywhere(const json_t *service_port, const void *at)
{
	return target_of(service_port, at);
}

static uint32_t in_pod(const json_t *service_port, const void *at)
{
	uint32_t target = target_of(service_port, at);

	return target ? target : NOWHERE;
}

/* The slice's port of the same name; one without a name goes with one without. */
static uint32_t in_slice(const json_t *service_port, const void *at)
{
	const char *wanted = json_string_value(json_object_get(service_port, "name"));
	const json_t *ports = object_value(at, "ports"), *port;
	uint32_t target = 0;
	size_t i;

	json_array_foreach (ports, i, port) {
		const char *name = json_string_value(json_object_get(port, "name"));

		if (target == 0 && service_port_is_tcp(port) &&
		    streq(name ? name : "", wanted ? wanted : ""))
			target = json_port(port, "port");
	}
	return target ? target : NOWHERE;
}

int pack_service_ports(const struct object *service, struct scratch *a, struct port_list *ret)
{
	return list_fill(ret, service, anywhere, NULL, a);
}

int pack_pod_ports(const struct object *service, const struct pod_facts *pod, struct scratch *a,
		   struct port_list *ret)
{
	return list_fill(ret, service, in_pod, pod, a);
}

int pack_slice_ports(const struct object *service, const struct object *slice, struct scratch *a,
		     struct port_list *ret)
{
	return list_fill(ret, service, in_slice, slice, a);
}

/* A target that is a name has to be among the entry's own; else the entry may have its own number
 * for a port that is called as the Service's. */
static uint32_t in_entry(const json_t *service_port, const void *at)
{
	const char *target = json_string_value(json_object_get(service_port, "targetPort"));
	const char *name = json_string_value(json_object_get(service_port, "name"));
	uint32_t own = target || name ? json_port(at, target ? target : name) : 0;

	if (!own && !target)
		own = target_of(service_port, NULL);
	return own ? own : NOWHERE;
}

int pack_named_ports(const struct object *service, const json_t *named, struct scratch *a,
		     struct port_list *ret)
{
	return list_fill(ret, service, in_entry, named, a);
}
