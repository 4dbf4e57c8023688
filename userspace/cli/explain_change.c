/* SPDX-License-Identifier: Apache-2.0 */
/* explain_change - what would change an answer that no policy gave: those of policies are ztunnel's
 * to say. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "explain.h"
#include "json.h"

#define MESH_LABEL "istio.io/dataplane-mode=ambient"

static void add(json_t *list, const char *text)
{
	(void)json_array_append_new(list, json_string(text));
}

/* What would take a pod into the mesh. */
static void add_label(json_t *list, const json_t *pod)
{
	_cleanup_(freep) char *text =
		str_format("the label " MESH_LABEL " on pod %s/%s or its namespace",
			   json_text(pod, "namespace", ""), json_text(pod, "name", ""));

	if (!text || !*json_text(pod, "name", ""))
		return;
	/* uid: "CLUSTER//Pod/NAMESPACE/NAME" */
	if (!strstr(json_text(pod, "uid", ""), "//Pod/"))
		add(list,
		    "an endpoint that is in the mesh: a pod, or a WorkloadEntry with a tunnel");
	else
		add(list, text);
}

static bool is_kind(const json_t *route, const char *kind)
{
	return streq(json_text(route, "kind", ""), kind);
}

/* The service is there, an endpoint at this port is not. */
static void add_endpoint(json_t *list, const json_t *answer)
{
	const json_t *to = json_object_get(answer, "to");
	const char *port = strrchr(json_text(to, "address", ""), ':');
	_cleanup_(freep) char *text =
		str_format("an endpoint of %s that is ready, at a port of its that is %s",
			   json_text(to, "service", "the service"), port ? port + 1 : "this one");

	if (text)
		add(list, text);
}

/* The kernel lets it pass: nothing of the mesh is known there. */
static void add_for_unknown(json_t *list, const json_t *answer, const json_t *route)
{
	if (is_kind(route, "refuse")) {
		add_endpoint(list, answer);
		return;
	}
	add_label(list, json_object_get(route, "workload"));
	if (json_is_object(json_object_get(route, "workload")))
		return;
	add(list, "a ServiceEntry whose endpoints are in the mesh");
	add(list, "outboundTrafficPolicy REGISTRY_ONLY without a ServiceEntry for it: it would be "
		  "refused");
}

static void add_of_policies(json_t *list, const json_t *route)
{
	(void)json_array_extend(list, json_object_get(json_object_get(route, "inbound"), "change"));
}

/* What the kernel alone decides. Return: it has said all. */
static bool add_for_kernel(json_t *list, const json_t *answer, const json_t *route)
{
	const char *path = json_text(json_object_get(answer, "kernel"), "path", "");

	if (streq(path, "self"))
		add(list, "nothing: what a pod sends to its own address never leaves it");
	else if (streq(path, "gone"))
		add(list, "time: ten seconds after its end it is an address as any other");
	else if (streq(path, "ztunnel_dead"))
		add(list, "a ztunnel that serves the pod: culvert status says what is missing");
	else if (streq(path, "dns"))
		add(list, "the annotation ambient.istio.io/dns-capture: \"false\" on the pod or "
			  "its namespace");
	else if (streq(path, "excluded")) {
		add(list, "the annotation without it: culvert status shows what it says");
		add_of_policies(list, route);
	} else if (streq(path, "uncaptured"))
		add(list, "the capture of the pod: culvert status says what it waits for");
	else if (streq(path, "passthrough"))
		add_for_unknown(list, answer, route);
	else if (streq(path, "registry_only")) {
		add(list, "a ServiceEntry for it");
		add(list, "outboundTrafficPolicy ALLOW_ANY in MeshConfig");
	} else
		return false;
	return true;
}

static void add_for_route(json_t *list, const json_t *answer, const json_t *route)
{
	const json_t *from = json_object_get(answer, "from");

	if (is_kind(route, "refuse"))
		add_endpoint(list, answer);
	else if (json_is_true(json_object_get(route, "isWaypoint")))
		add(list, "the policies of the waypoint");
	else if (json_is_true(json_object_get(route, "isExcluded")))
		add(list, "the annotation of the endpoint's pod without its port, or without the "
			  "source's range: culvert status shows what it says");
	else
		add_label(list, json_object_get(route, "workload"));
	if (json_is_false(json_object_get(from, "isEnrolled")))
		add_label(list, from);
}

json_t *explain_changes(const json_t *answer)
{
	const json_t *routes = json_object_get(answer, "routes");
	const json_t *route = explain_of_interest(answer);
	const json_t *inbound = json_object_get(route, "inbound");
	json_t *list = json_array();

	if (!list || add_for_kernel(list, answer, route))
		return list;
	if (explain_lacks_certificate(answer, route))
		add(list, "a certificate for the source: culvert ztunnel-config certificate and "
			  "the log of ztunnel say why there is none");
	else if (json_is_object(inbound))
		add_of_policies(list, route);
	else if (json_array_size(routes))
		add_for_route(list, answer, route);
	return list;
}
