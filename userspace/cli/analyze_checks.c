/* SPDX-License-Identifier: Apache-2.0 */
/* analyze_checks - one function per code, most of them. */
#include <stdio.h>
#include <string.h>

#include "analyze.h"
#include "base/str.h"
#include "findings.h"
#include "json.h"
#include "kube.h"
#include "kube_enrol.h"
#include "model/exclude.h"

#define ORIGIN_MAX 600
/* What agents say of the pods that they have captured. */
#define REDIRECTION "ambient.istio.io/redirection"

/** struct subject - an object that something is to be said of. */
struct subject {
	char origin[ORIGIN_MAX], reference[ORIGIN_MAX];
	struct finding finding;
};

static const struct finding *about(struct subject *s, const struct object *o,
				   enum finding_level level, const char *code, const char *field)
{
	analysis_origin(s->origin, sizeof(s->origin),
			&(struct analysis_name){o->kind, o->namespace_, o->name});
	(void)snprintf(s->reference, sizeof(s->reference), "%s:%u", o->file, object_line(o, field));
	s->finding =
		(struct finding){level, code, s->origin, *o->file && o->line ? s->reference : NULL};
	return &s->finding;
}

static bool is_system(const char *ns)
{
	return streq(ns, "kube-system") || streq(ns, "kube-public") ||
	       streq(ns, "kube-node-lease") || streq(ns, KUBE_MESH_NAMESPACE);
}

static bool has_pods(const struct analysis *a, const char *ns)
{
	for (size_t i = 0; i < a->count; i++)
		if (streq(a->objects[i]->namespace_, ns) && streq(a->objects[i]->kind, "Pod"))
			return true;
	return false;
}

/* IST0102: nobody has said whether it is to be in the mesh. */
static void namespace_not_enrolled(struct analysis *a, const struct object *ns)
{
	struct subject s;

	if (is_system(ns->name) || !has_pods(a, ns->name) ||
	    kube_enrol(NULL, ns->body).verdict != ENROL_NO_LABEL)
		return;
	findings_add(a->findings, about(&s, ns, FINDING_INFO, "IST0102", "metadata.labels"),
		     "The namespace is not enabled for the mesh. Run 'kubectl label namespace %s "
		     "istio-injection=enabled' to enable it, or 'kubectl label namespace %s "
		     "istio-injection=disabled' to explicitly mark it as not needing it.",
		     ns->name, ns->name);
}

/* IST0123: labels that contradict each other; any "no" wins. */
static void namespace_contradicts(struct analysis *a, const struct object *ns)
{
	static const struct {
		const char *key, *yes, *no;
	} spellings[] = {{"istio-injection", "enabled", "disabled"},
			 {"istio.io/dataplane-mode", "ambient", "none"},
			 {"culvert.io/mesh", "enabled", "disabled"}};
	const char *yes = object_label(ns, "istio.io/rev") ? "istio.io/rev" : NULL, *no = NULL;
	struct subject s;

	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
		const char *value = object_label(ns, spellings[i].key);

		if (value && streq(value, spellings[i].yes))
			yes = spellings[i].key;
		if (value && streq(value, spellings[i].no))
			no = spellings[i].key;
	}
	if (yes && no)
		findings_add(a->findings,
			     about(&s, ns, FINDING_WARNING, "IST0123", "metadata.labels"),
			     "The namespace has labels that contradict each other: %s says yes, %s "
			     "says no; no wins.",
			     yes, no);
}

static void label_tell(struct analysis *a, const struct object *o, const char *text)
{
	struct subject s;

	findings_add(a->findings, about(&s, o, FINDING_WARNING, "CUL0002", "metadata.labels"),
		     "%s.", text);
}

/* CUL0002, as precheck has it: a label whose value means nothing. */
static void label_without_meaning(struct analysis *a, const struct object *o)
{
	char text[256];

	for (size_t i = 0; enrol_mistake(o, i, text, sizeof(text)); i++)
		label_tell(a, o, text);
}

/* CUL0002: ours that nothing reads, or that says more than it seems to. */
static void label_of_ours(struct analysis *a, const struct object *o)
{
	const char *same_node = object_label(o, "culvert.io/same-node");
	char text[256];

	if (object_label(o, "culvert.io/shortcut"))
		label_tell(a, o,
			   "label culvert.io/shortcut has no effect: no connection goes past TCP");
	if (!same_node)
		return;
	(void)snprintf(text, sizeof(text),
		       "label culvert.io/same-node=%s counts as encrypt: direct or encrypt was "
		       "expected",
		       same_node);
	if (streq(o->kind, "Pod"))
		label_tell(a, o,
			   "label culvert.io/same-node has no effect here: it is a Namespace's");
	else if (!streq(same_node, "direct") && !streq(same_node, "encrypt"))
		label_tell(a, o, text);
}

/* IST0103: its namespace is in the mesh, it is not, and did not ask for that. */
static void pod_left_out(struct analysis *a, const struct object *pod)
{
	const struct object *ns = analysis_find(a, "Namespace", "", pod->namespace_);
	struct enrol_decision d = enrol_decide(pod, ns);
	struct subject s;

	if (!ns || is_system(ns->name) || !enrol_is_yes(kube_enrol(NULL, ns->body).verdict) ||
	    (d.verdict != ENROL_NO_HOST_NETWORK && d.verdict != ENROL_NO_SIDECAR))
		return;
	findings_add(a->findings, about(&s, pod, FINDING_WARNING, "IST0103", d.because),
		     "The pod is not in the mesh, though its namespace is: %s.", d.reason);
}

/* IST0103: it is to be in the mesh, and its node's agent does not say that it is. */
static void pod_not_captured(struct analysis *a, const struct object *pod)
{
	const struct object *ns = analysis_find(a, "Namespace", "", pod->namespace_);
	const char *told = object_annotation(pod, REDIRECTION);
	const json_t *phase = object_value(pod, "status.phase");
	struct subject s;

	if (*pod->file || (told && streq(told, "enabled")) || !json_is_string(phase) ||
	    !streq(json_string_value(phase), "Running") ||
	    object_value(pod, "metadata.deletionTimestamp") ||
	    !enrol_is_yes(enrol_decide(pod, ns).verdict))
		return;
	findings_add(
		a->findings, about(&s, pod, FINDING_WARNING, "IST0103", "metadata.annotations"),
		"The pod runs, is to be in the mesh and is not captured: its annotation %s %s. "
		"'culvert describe pod %s -n %s' says what it waits for.",
		REDIRECTION, told ? "is not \"enabled\"" : "is missing", pod->name,
		pod->namespace_);
}

/* IST0118: the protocol cannot be told from the name. */
static void port_names(struct analysis *a, const struct object *service)
{
	static const char *const protocols[] = {"http",  "http2",    "https", "grpc",  "grpc-web",
						"tcp",   "tls",      "udp",   "mongo", "mysql",
						"redis", "postgres", "dns"};
	const json_t *port;
	struct subject s;
	size_t i;

	json_array_foreach (object_value(service, "spec.ports"), i, port) {
		const char *name = json_text(port, "name", "");
		bool is_known = json_object_get(port, "appProtocol") != NULL ||
				streq(json_text(port, "protocol", "TCP"), "UDP");
		char field[64];

		for (size_t k = 0; k < ARRAY_SIZE(protocols) && !is_known; k++) {
			size_t n = strlen(protocols[k]);

			is_known = strncmp(name, protocols[k], n) == 0 &&
				   (name[n] == '\0' || name[n] == '-');
		}
		(void)snprintf(field, sizeof(field), "spec.ports[%zu]", i);
		if (!is_known)
			findings_add(a->findings,
				     about(&s, service, FINDING_INFO, "IST0118", field),
				     "Port name %s (port: %lld) doesn't follow the naming "
				     "convention of Istio ports: PROTOCOL or PROTOCOL-SUFFIX.",
				     name, (long long)json_number(port, "port"));
	}
}

/* IST0127: a selector that nothing answers to. */
static void selector_hits_nothing(struct analysis *a, const struct object *o)
{
	const json_t *labels = object_value(o, "spec.selector.matchLabels");
	bool is_everywhere = streq(o->namespace_, KUBE_MESH_NAMESPACE);
	struct subject s;

	if (!a->has_cluster || json_object_size(labels) == 0)
		return;
	for (size_t i = 0; i < a->count; i++) {
		const struct object *pod = a->objects[i];

		if ((streq(pod->kind, "Pod") || streq(pod->kind, "WorkloadEntry")) &&
		    (is_everywhere || streq(pod->namespace_, o->namespace_)) &&
		    labels_match(labels, pod->labels))
			return;
	}
	findings_add(a->findings,
		     about(&s, o, FINDING_WARNING, "IST0127", "spec.selector.matchLabels"),
		     "No matching workloads for this resource with its selector's labels.");
}

/* IST0101: what a policy is for does not exist. */
static void target_missing(struct analysis *a, const struct object *o)
{
	const json_t *ref;
	struct subject s;
	size_t i;

	json_array_foreach (object_value(o, "spec.targetRefs"), i, ref) {
		const char *kind = json_text(ref, "kind", ""), *name = json_text(ref, "name", "");
		char field[64];

		if (!a->has_cluster || analysis_find(a, kind, o->namespace_, name) ||
		    !(streq(kind, "Service") || streq(kind, "ServiceEntry")))
			continue;
		(void)snprintf(field, sizeof(field), "spec.targetRefs[%zu]", i);
		findings_add(a->findings, about(&s, o, FINDING_ERROR, "IST0101", field),
			     "Referenced %s not found: \"%s/%s\"", kind, o->namespace_, name);
	}
}

/* IST0134: a TCP port is told from others by address alone. */
static void entry_without_address(struct analysis *a, const struct object *entry)
{
	const char *allocate = object_label(entry, "networking.istio.io/enable-autoallocate-ip");
	const json_t *port;
	struct subject s;
	size_t i;

	if (json_array_size(object_value(entry, "spec.addresses")) > 0 ||
	    !(allocate && streq(allocate, "false")))
		return;
	json_array_foreach (object_value(entry, "spec.ports"), i, port) {
		if (!streq(json_text(port, "protocol", ""), "TCP"))
			continue;
		findings_add(a->findings,
			     about(&s, entry, FINDING_WARNING, "IST0134", "spec.addresses"),
			     "ServiceEntry addresses are required for this protocol: port %lld is "
			     "TCP, and addresses are not allocated.",
			     (long long)json_number(port, "number"));
		return;
	}
}

/** struct annotation - one that the mesh reads. */
static const struct annotation {
	const char *key, *kinds; /* on which, with spaces around */
} annotations[] = {
	{"traffic.sidecar.istio.io/excludeOutboundPorts", " Pod Namespace Deployment "},
	{"traffic.sidecar.istio.io/excludeOutboundIPRanges", " Pod Namespace Deployment "},
	{"traffic.sidecar.istio.io/includeOutboundIPRanges", " Pod Namespace Deployment "},
	{"traffic.sidecar.istio.io/includeOutboundPorts", " Pod Namespace Deployment "},
	{"traffic.sidecar.istio.io/excludeInboundPorts", " Pod Namespace Deployment "},
	{"traffic.sidecar.istio.io/includeInboundPorts", " Pod Namespace Deployment "},
	{"culvert.io/excludeInboundIPRanges", " Pod Namespace Deployment "},
	{"ambient.istio.io/bypass-inbound-capture", " Pod Namespace Deployment "},
	{"ambient.istio.io/dns-capture", " Pod Namespace Deployment "},
	{REDIRECTION, " Pod "},
	{"sidecar.istio.io/inject", " Pod Deployment "},
	{"sidecar.istio.io/status", " Pod "},
	{"networking.istio.io/exportTo", " Service ServiceEntry "},
	{"istio.io/reroute-virtual-interfaces", " Pod Deployment "},
	{0},
};

static const struct annotation *annotation_find(const char *key)
{
	for (const struct annotation *n = annotations; n->key; n++)
		if (streq(n->key, key))
			return n;
	return NULL;
}

/* IST0107 on the wrong kind, IST0108 one that nobody reads. */
static void annotations_check(struct analysis *a, const struct object *o)
{
	const char *key;
	const json_t *v;
	struct subject s;

	json_object_foreach ((json_t *)(uintptr_t)o->annotations, key, v) {
		const struct annotation *n = annotation_find(key);
		char kind[64], field[300];

		(void)snprintf(field, sizeof(field), "metadata.annotations[%.256s]", key);
		(void)snprintf(kind, sizeof(kind), " %.60s ", o->kind);
		if (n && !strstr(n->kinds, kind))
			findings_add(a->findings, about(&s, o, FINDING_WARNING, "IST0107", field),
				     "Misplaced annotation: %s can only be applied to%s", key,
				     n->kinds);
		else if (!n && (str_has_prefix(key, "traffic.sidecar.istio.io/") ||
				str_has_prefix(key, "ambient.istio.io/")))
			findings_add(a->findings, about(&s, o, FINDING_WARNING, "IST0108", field),
				     "Unknown annotation: %s", key);
	}
}

static void on_annotation(void *arg, const struct object *on, const char *annotation,
			  const char *message, bool is_warning)
{
	struct analysis *a = arg;
	struct subject s;
	char field[300];

	(void)snprintf(field, sizeof(field), "metadata.annotations[%.256s]", annotation);
	findings_add(a->findings,
		     about(&s, on, FINDING_WARNING, is_warning ? "CUL0005" : "IST0125", field),
		     "%s%s: %s", is_warning ? "" : "Invalid annotation ", annotation, message);
}

/* IST0125: as the node's agent says it, to whom it counts as absent. */
static void annotations_invalid(struct analysis *a, const struct object *o)
{
	const struct exclude_notes notes = {.fn = on_annotation, .arg = a};
	struct exclusions x = {0};

	if (exclude_read(o, NULL, &notes, &x) == 0)
		exclude_clear(&x);
}

/* IST0171: what the control plane has said of it. */
static void condition_negative(struct analysis *a, const struct object *o)
{
	const json_t *c;
	struct subject s;
	size_t i;

	if (!strstr(json_text(o->body, "apiVersion", ""), "istio.io/"))
		return;
	json_array_foreach (object_value(o, "status.conditions"), i, c) {
		if (!streq(json_text(c, "status", ""), "False"))
			continue;
		findings_add(a->findings, about(&s, o, FINDING_WARNING, "IST0171", "status"),
			     "Condition %s is False: %s", json_text(c, "type", ""),
			     json_text(c, "message", json_text(c, "reason", "")));
	}
}

static const struct check {
	const char *kind; /* NULL: of any */
	void (*run)(struct analysis *a, const struct object *o);
} checks[] = {
	{"Namespace", namespace_not_enrolled},
	{"Namespace", namespace_contradicts},
	{"Namespace", label_without_meaning},
	{"Pod", label_without_meaning},
	{"Namespace", label_of_ours},
	{"Pod", label_of_ours},
	{"Pod", pod_left_out},
	{"Pod", pod_not_captured},
	{"Service", port_names},
	{"AuthorizationPolicy", selector_hits_nothing},
	{"PeerAuthentication", selector_hits_nothing},
	{"Telemetry", selector_hits_nothing},
	{"AuthorizationPolicy", target_missing},
	{"ServiceEntry", entry_without_address},
	{NULL, annotations_check},
	{"Namespace", annotations_invalid},
	{"Pod", annotations_invalid},
	{NULL, condition_negative},
};

static bool is_looked_at(const struct analysis *a, const struct object *o)
{
	const char *ns = *o->namespace_ ? o->namespace_ : o->name;

	return !is_system(ns) || streq(ns, KUBE_MESH_NAMESPACE) ? !a->only || streq(a->only, ns)
								: false;
}

void analysis_checks(struct analysis *a)
{
	for (size_t i = 0; i < a->count; i++) {
		const struct object *o = a->objects[i];

		if (o->is_invalid || !is_looked_at(a, o))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(checks); k++)
			if (!checks[k].kind || streq(checks[k].kind, o->kind))
				checks[k].run(a, o);
	}
}
