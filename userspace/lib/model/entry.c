/* SPDX-License-Identifier: Apache-2.0 */
/* entry - where ServiceEntries and WorkloadEntries are filed, and what a change of them touches. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/str.h"
#include "model/pack.h"
#include "net/cidr.h"

static const char *resolution_of(const struct object *o)
{
	const char *s = object_string(o, "spec.resolution");

	return s ? s : "NONE";
}

bool service_entry_is_named(const struct service_entry *s)
{
	const char *how = resolution_of(s->e.object);

	return s->is_named_instead || streq(how, "DNS") || streq(how, "DNS_ROUND_ROBIN");
}

bool service_entry_is_balanced(const struct service_entry *s)
{
	return streq(resolution_of(s->e.object), "STATIC") || service_entry_is_named(s);
}

bool service_entry_is_first(const struct service_entry *s)
{
	return streq(resolution_of(s->e.object), "DNS_ROUND_ROBIN");
}

const json_t *service_entry_selector(const struct service_entry *s)
{
	return object_value(s->e.object, "spec.workloadSelector.labels");
}

static void selected_mark(struct model *m, const struct service_entry *s)
{
	const struct object *o = s->e.object;
	const struct index_link *l;

	if (json_object_size(service_entry_selector(s)) == 0)
		return;
	selector_mark(m, o->namespace_, service_entry_selector(s), false);
	index_for_each(l, index_find(&m->workload_entries, o->namespace_))
		entity_mark(m, &((struct workload_entry *)l->owner)->e);
}

/* What it gave is taken back at once, and given again by the flush: in whatever order two that
 * share a host are flushed, one of them has it. */
void service_entry_mark(struct model *m, struct service_entry *s)
{
	outputs_unset(m, &s->outputs);
	selected_mark(m, s);
	entity_mark(m, &s->e);
}

void service_entries_mark_moved(void *arg, const char *host)
{
	struct model *m = arg;

	map_for_each (m->entities[ENTITY_SERVICE_ENTRY], it) {
		const struct service_entry *s = it.value;

		service_entry_mark_host(m, s->e.object->namespace_, host);
	}
}

void service_entries_mark_addr(struct model *m, const char *key)
{
	const struct index_link *l;

	index_for_each(l, index_find(&m->entries_by_addr, key))
	{
		struct entity *e = l->owner;

		if (e->kind == ENTITY_SERVICE_ENTRY)
			service_entry_mark(m, (struct service_entry *)e);
		else
			entity_mark(m, e);
	}
}

static void host_unlink(struct model *m, const struct service_entry *s, struct entry_host *h)
{
	index_del(&m->entries_by_host, &h->link);
	index_del(&m->entries_by_host, &h->in_mesh);
	if (h->has_vip)
		vip_put(&m->vips, h->name, service_entry_since(s));
	service_entry_mark_host(m, s->e.object->namespace_, h->name);
	free(h->name);
}

void service_entry_unlink(struct model *m, struct service_entry *s)
{
	outputs_unset(m, &s->outputs);
	selected_mark(m, s);
	index_del(&m->entries_by_label, &s->in_selector);
	index_del(&m->entries_by_namespace, &s->in_namespace);
	for (size_t i = 0; i < s->hosts_count; i++)
		host_unlink(m, s, &s->hosts[i]);
	for (size_t i = 0; i < s->targets_count; i++)
		index_del(&m->entries_by_addr, &s->targets[i]);
	free(s->hosts);
	free(s->targets);
	s->hosts = NULL;
	s->targets = NULL;
	s->hosts_count = s->targets_count = 0;
}

/* Only what we balance needs an address of its own. */
static bool wants_vip(const struct service_entry *s, const char *host)
{
	const struct object *o = s->e.object;
	const char *label = object_label(o, "networking.istio.io/enable-autoallocate-ip");

	return service_entry_is_balanced(s) &&
	       (host[0] != '*' || (s->is_named_instead && host[1] == '.')) &&
	       json_array_size(object_value(o, "spec.addresses")) == 0 &&
	       !(label && streq(label, "false"));
}

static int host_file(struct model *m, struct service_entry *s, struct entry_host *h)
{
	char key[MODEL_KEY_MAX];
	int r;

	(void)snprintf(key, sizeof(key), "%s/%s", s->e.object->namespace_, h->name);
	r = index_add(&m->entries_by_host, key, s, &h->link);
	if (r < 0 || !export_is_public(object_value(s->e.object, "spec.exportTo")))
		return r;
	(void)snprintf(key, sizeof(key), "/%s", h->name);
	return index_add(&m->entries_by_host, key, s, &h->in_mesh);
}

/* The name as DNS compares it: "API.example.com." is "api.example.com". */
static char *host_name(const char *text)
{
	char *name = strdup(text);
	size_t n = name ? strlen(name) : 0;

	for (char *p = name; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (n > 0 && name[n - 1] == '.')
		name[n - 1] = '\0';
	return name;
}

static bool has_host(const struct model *m, const struct service_entry *s, const char *name)
{
	const struct index_link *l;
	char key[MODEL_KEY_MAX];

	(void)snprintf(key, sizeof(key), "%s/%s", s->e.object->namespace_, name);
	index_for_each(l, index_find(&m->entries_by_host, key)) if (l->owner == s) return true;
	return false;
}

static int host_link(struct model *m, struct service_entry *s, const char *text, size_t at)
{
	struct entry_host *h = &s->hosts[s->hosts_count];
	char *name = host_name(text);
	int r;

	if (!name)
		return -ENOMEM;
	if (has_host(m, s, name)) {
		free(name);
		return 0;
	}
	h->name = name;
	h->at = at;
	s->hosts_count++;
	service_entry_mark_host(m, s->e.object->namespace_, name);
	r = host_file(m, s, h);
	if (r < 0 || !wants_vip(s, name))
		return r;
	r = vip_get(&m->vips, name, service_entry_since(s));
	h->has_vip = r == 0;
	return r == -ENOMEM ? r : 0;
}

static int hosts_link(struct model *m, struct service_entry *s)
{
	const json_t *hosts = object_value(s->e.object, "spec.hosts"), *one;
	size_t i;
	int r = 0;

	s->hosts = calloc(json_array_size(hosts) + 1, sizeof(*s->hosts));
	if (!s->hosts)
		return -ENOMEM;
	json_array_foreach (hosts, i, one)
		if (r == 0)
			r = host_link(m, s, json_string_value(one), i);
	return r;
}

static int targets_link(struct model *m, struct service_entry *s)
{
	const json_t *list = object_value(s->e.object, "spec.endpoints"), *one;
	char key[MODEL_KEY_MAX];
	struct cv_addr a;
	size_t i;
	int r;

	s->targets = calloc(json_array_size(list) + 1, sizeof(*s->targets));
	if (!s->targets)
		return -ENOMEM;
	json_array_foreach (list, i, one) {
		if (cv_addr_parse(json_text(one, "address", ""), &a) < 0)
			continue;
		addr_key(key, &a);
		r = index_add(&m->entries_by_addr, key, &s->e, &s->targets[s->targets_count]);
		if (r < 0)
			return r;
		s->targets_count++;
	}
	return 0;
}

/* A port at which the name in the request, or in TLS, tells one host from another. */
static bool has_named_port(const struct object *o)
{
	const json_t *one;
	size_t i;

	json_array_foreach (object_value(o, "spec.ports"), i, one) {
		const char *protocol = json_string_value(json_object_get(one, "protocol"));

		if (!protocol ||
		    (strcasecmp(protocol, "TCP") != 0 && strcasecmp(protocol, "UDP") != 0))
			return true;
	}
	return false;
}

/* Where it goes is for the client to find out, and nothing but the name, which layer 4 does not
 * see, would tell such a connection from any other. Under REGISTRY_ONLY the name is ours to
 * resolve, then, so that who asks for it is let out. A TCP port is open to any host besides: with
 * such ports alone nothing is missing. */
static bool is_only_name(const struct object *o)
{
	return has_named_port(o) && json_array_size(object_value(o, "spec.addresses")) == 0 &&
	       json_array_size(object_value(o, "spec.endpoints")) == 0 &&
	       !object_value(o, "spec.workloadSelector");
}

int service_entry_link(struct model *m, struct service_entry *s)
{
	const json_t *selector = service_entry_selector(s);
	int r;

	s->is_named_instead = false;
	s->is_named_instead =
		m->is_registry_only && !service_entry_is_balanced(s) && is_only_name(s->e.object);
	r = index_add(&m->entries_by_namespace, s->e.object->namespace_, s, &s->in_namespace);
	if (r == 0)
		r = hosts_link(m, s);
	if (r == 0 && service_entry_is_balanced(s))
		r = targets_link(m, s);
	if (r == 0 && service_entry_is_balanced(s) && json_object_size(selector) > 0)
		r = selector_file(&m->entries_by_label, s->e.object->namespace_, selector, s,
				  &s->in_selector);
	selected_mark(m, s);
	return r;
}

/* What REGISTRY_ONLY makes of an entry without addresses that leaves the name to the client. */
static void registry_only_report(struct model *m, const struct service_entry *s)
{
	const struct object *o = s->e.object;

	if (s->is_named_instead)
		report(m, "spec.resolution", true,
		       "%s, so that a name would decide, at which layer 4 cannot look: under "
		       "outboundTrafficPolicy REGISTRY_ONLY the hosts are resolved as with DNS "
		       "in " CULVERT_VERSION ", of a wildcard up to 254 names at a time on a node",
		       resolution_of(o));
	if (!service_entry_is_balanced(s) && has_named_port(o) &&
	    json_array_size(object_value(o, "spec.addresses")) == 0)
		report(m, "spec.addresses", true,
		       "none, so that a name would decide, at which layer 4 cannot look: under "
		       "outboundTrafficPolicy REGISTRY_ONLY connections to ports that are not TCP "
		       "are refused in " CULVERT_VERSION "; resolution DNS works");
}

static bool is_word(const json_t *o, const char *key, const char *word)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s && strcasecmp(s, word) == 0;
}

/* What a place says of itself that does not change how it is reached. @where: its field. */
static void place_report(struct model *m, const json_t *entry, const char *where)
{
	char field[64];

	(void)snprintf(field, sizeof(field), "%s.network", where);
	if (json_string_length(json_object_get(entry, "network")))
		report(m, field, true, "no gateway leads to another network yet: %s",
		       json_object_get(entry, "address") ? "the address is dialled as it is"
							 : "left out, it has no address");
}

static void endpoints_report(struct model *m, const struct object *o)
{
	const json_t *one;
	size_t i;

	json_array_foreach (object_value(o, "spec.endpoints"), i, one) {
		char where[48], field[64];

		(void)snprintf(where, sizeof(where), "spec.endpoints[%zu]", i);
		place_report(m, one, where);
		(void)snprintf(field, sizeof(field), "%s.serviceAccount", where);
		if (json_string_length(json_object_get(one, "serviceAccount")))
			report(m, field, true,
			       "no identity is asked for: nothing of the mesh answers at an "
			       "endpoint "
			       "that is given here; a WorkloadEntry can have a tunnel");
		(void)snprintf(field, sizeof(field), "%s.labels", where);
		if (json_object_size(json_object_get(one, "labels")))
			report(m, field, true,
			       "not honoured: metrics and logs have the ServiceEntry's name; a "
			       "WorkloadEntry's labels are");
	}
	if (json_array_size(object_value(o, "spec.endpoints")) &&
	    is_word(object_value(o, "spec"), "location", "MESH_INTERNAL"))
		report(m, "spec.location", true,
		       "endpoints that are given here are reached in plaintext nevertheless; pods, "
		       "and WorkloadEntries with a tunnel, by workloadSelector in mutual TLS");
}

static void entry_ports_report(struct model *m, const struct object *o)
{
	const json_t *one;
	size_t i;

	json_array_foreach (object_value(o, "spec.ports"), i, one) {
		char field[64];

		(void)snprintf(field, sizeof(field), "spec.ports[%zu].protocol", i);
		if (is_word(one, "protocol", "UDP"))
			report(m, field, true,
			       "UDP other than DNS is left alone: it goes past "
			       "the mesh, to what its address leads to");
	}
}

static void service_entry_report(struct model *m, const struct service_entry *s)
{
	const struct object *o = s->e.object;

	endpoints_report(m, o);
	entry_ports_report(m, o);
	if (json_array_size(object_value(o, "spec.subjectAltNames")) && !service_entry_selector(s))
		report(m, "spec.subjectAltNames", true,
		       "looked at in tunnels alone, and none leads there: TLS of the applications "
		       "is theirs");

	if (service_entry_is_locked(m, s))
		report(m, "metadata.namespace", true,
		       "seen by nobody: serviceEntryVisibility of MeshConfig is NONE for this "
		       "namespace");
	if (streq(resolution_of(o), "DYNAMIC_DNS"))
		report(m, "spec.resolution", true,
		       "DYNAMIC_DNS is not honoured in " CULVERT_VERSION
		       ": the name is left to the pod's own DNS and the connection goes where "
		       "that leads");
	if (m->is_registry_only)
		registry_only_report(m, s);
	distribution_report(m, o);
	report_waypoint(m, o);
}

bool entry_is_pods(struct model *m, const char *field, const struct cv_addr *addr)
{
	const struct index_link *l;
	const char *name = NULL; /* for a moment two may have it: the same at each replica */
	char key[MODEL_KEY_MAX];

	addr_key(key, addr);
	index_for_each(l, index_find(&m->pods_by_addr, key))
	{
		const struct pod *p = l->owner;

		if (!name || strcmp(p->e.key, name) < 0)
			name = p->e.key;
	}
	if (name)
		report(m, field, true, "left out: it is pod %s's; name it by workloadSelector",
		       name);
	return name;
}

bool entry_is_socket(struct model *m, const char *field, const char *address)
{
	if (!str_has_prefix(address, "unix://"))
		return false;
	report(m, field, true, "left out: a UNIX socket is reached from its own pod alone");
	return true;
}

int service_entry_output(struct model *m, struct service_entry *s, const char *name,
			 const ProtobufCMessage *msg)
{
	size_t size = strlen(name) + 1;
	struct slice_output *o = malloc(sizeof(*o) + size);

	if (!o)
		return -ENOMEM;
	memcpy(o->name, name, size);
	list_add_tail(&s->outputs, &o->link);
	return output_set(m, XDS_ADDRESS, name, msg);
}

int service_entry_flush(struct model *m, struct service_entry *s)
{
	service_entry_report(m, s);
	return pack_service_entry(m, s);
}

void workload_entry_unlink(struct model *m, struct workload_entry *w)
{
	char uid[MODEL_KEY_MAX];

	index_del(&m->workload_entries, &w->in_namespace);
	index_del(&m->entries_by_addr, &w->in_addr);
	json_decref(w->labels);
	json_decref(w->spec);
	w->labels = w->spec = NULL;
	(void)snprintf(uid, sizeof(uid), "%s/networking.istio.io/WorkloadEntry/%s", m->cluster_id,
		       w->e.key);
	output_unset(m, XDS_ADDRESS, uid);
}

/* The group that made it, or that it names as if. */
static const struct object *group_of(const struct model *m, const struct object *o)
{
	const char *name = object_annotation(o, GROUP_ANNOTATION);
	const struct entity *e =
		name ? entity_find(m, ENTITY_WORKLOAD_GROUP, o->namespace_, name) : NULL;

	return e ? e->object : NULL;
}

/* Return: 0, also where there is nothing to add. */
static int add_missing(json_t *to, const json_t *from)
{
	return from ? json_object_update_missing(to, (json_t *)from) : 0;
}

/* What the entry says counts before what its group says. */
static int workload_entry_merge(struct model *m, struct workload_entry *w)
{
	const struct object *o = w->e.object, *group = group_of(m, o);

	w->labels = json_object();
	w->spec = json_copy(object_value(o, "spec"));
	if (!w->labels || !w->spec || add_missing(w->labels, object_value(o, "spec.labels")) < 0 ||
	    add_missing(w->labels, o->labels) < 0)
		return -ENOMEM;
	if (group && (add_missing(w->spec, object_value(group, "spec.template")) < 0 ||
		      add_missing(w->labels, object_value(group, "spec.template.labels")) < 0 ||
		      add_missing(w->labels, object_value(group, "spec.metadata.labels")) < 0))
		return -ENOMEM;
	return 0;
}

int workload_entry_link(struct model *m, struct workload_entry *w)
{
	const struct object *o = w->e.object;
	const char *address = object_string(o, "spec.address");
	char key[MODEL_KEY_MAX];
	struct cv_addr a;
	int r;

	r = workload_entry_merge(m, w);
	if (r < 0)
		return r;
	r = index_add(&m->workload_entries, o->namespace_, w, &w->in_namespace);
	if (r < 0 || !address || cv_addr_parse(address, &a) < 0)
		return r;
	addr_key(key, &a);
	return index_add(&m->entries_by_addr, key, &w->e, &w->in_addr);
}

int workload_entry_flush(struct model *m, struct workload_entry *w)
{
	const char *address = object_string(w->e.object, "spec.address");
	char uid[MODEL_KEY_MAX];
	struct cv_addr a;

	(void)snprintf(uid, sizeof(uid), "%s/networking.istio.io/WorkloadEntry/%s", m->cluster_id,
		       w->e.key);
	output_unset(m, XDS_ADDRESS, uid);
	place_report(m, w->spec, "spec");
	if (!address || entry_is_socket(m, "spec.address", address))
		return 0;
	if (cv_addr_parse(address, &a) < 0)
		return pack_workload_entry(m, w, NULL);
	return entry_is_pods(m, "spec.address", &a) ? 0 : pack_workload_entry(m, w, &a);
}

int workload_group_change(struct model *m, const struct entity *group)
{
	const struct object *o = group->object;
	const struct index_bucket *b = index_find(&m->workload_entries, o->namespace_);
	size_t left = b ? b->count : 0;
	const struct list *at = b ? b->links.next : NULL;
	int r = 0;

	/* each is filed anew, at the end of this bucket: so many of the first are all there are */
	for (; left > 0 && r == 0; left--) {
		struct workload_entry *w = list_entry(at, struct index_link, link)->owner;
		const char *name = object_annotation(w->e.object, GROUP_ANNOTATION);

		at = at->next;
		if (!name || !streq(name, o->name))
			continue;
		workload_entry_unlink(m, w);
		r = workload_entry_link(m, w);
		entity_mark(m, &w->e);
	}
	return r;
}

int workload_group_flush(struct model *m, struct entity *group)
{
	if (object_value(group->object, "spec.probe"))
		report(m, "spec.probe", true,
		       "not honoured in " CULVERT_VERSION
		       ": its workloads count as ready while their entries are there");
	if (json_object_size(object_value(group->object, "spec.metadata.annotations")))
		report(m, "spec.metadata.annotations", true,
		       "not honoured: its labels are, annotations of its workloads have no "
		       "meaning here");
	return 0;
}
