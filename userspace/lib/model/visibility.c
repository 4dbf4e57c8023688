/* SPDX-License-Identifier: Apache-2.0 */
/* visibility - who may see a ServiceEntry: what it says itself, within what the administrator of
 * the mesh lets its namespace say (MeshConfig's serviceEntryVisibility). */
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "model/pack.h"
#include "source/namespace_selector.h"
#include "userspace/lib/xds/workload.pb-c.h"

/* A rule that names no selector, or one that Kubernetes would not take, never matches: so Istio. */
static bool rule_matches(const json_t *rule, const struct object *ns, const char *name)
{
	const json_t *selector = json_object_get(rule, "namespaceSelector");

	return json_is_object(selector) && namespace_selector_is_sound(selector) &&
	       namespace_selector_matches(selector, ns, name);
}

static bool policy_matches(const json_t *policy, const struct object *ns, const char *name)
{
	const json_t *rule;
	size_t i;

	json_array_foreach (json_object_get(policy, "matchingRules"), i, rule)
		if (!rule_matches(rule, ns, name))
			return false;
	return true;
}

/* The word for a namespace; "": nobody says anything. */
static const char *word_for(const struct model *m, const char *name)
{
	const json_t *rules = m->entry_visibility, *found = NULL, *policy;
	const struct entity *ns;
	const char *word;
	size_t i;

	if (!rules)
		return "";
	ns = entity_find(m, ENTITY_NAMESPACE, "", name);
	json_array_foreach (json_object_get(rules, "policies"), i, policy)
		if (!found && policy_matches(policy, ns ? ns->object : NULL, name))
			found = policy;
	word = json_string_value(found ? json_object_get(found, "visibility")
				       : json_object_get(rules, "defaultVisibility"));
	return word ? word : "";
}

bool service_entry_is_locked(const struct model *m, const struct service_entry *s)
{
	return streq(word_for(m, s->e.object->namespace_), "NONE");
}

bool service_entry_is_public(const struct model *m, const struct service_entry *s)
{
	const struct object *o = s->e.object;
	const char *word = word_for(m, o->namespace_);

	return export_is_public(object_value(o, "spec.exportTo")) && !streq(word, "NONE") &&
	       !streq(word, "NAMESPACE");
}

static bool is_exported_home(const json_t *export_to, const char *home)
{
	return export_is_public(export_to) || json_has_text(export_to, ".") ||
	       json_has_text(export_to, home);
}

bool service_entry_is_hidden(const struct model *m, const struct service_entry *s)
{
	const struct object *o = s->e.object;
	const json_t *export_to = object_value(o, "spec.exportTo");
	const char *word = word_for(m, o->namespace_);

	return export_is_nowhere(export_to) || streq(word, "NONE") ||
	       (streq(word, "NAMESPACE") && !is_exported_home(export_to, o->namespace_));
}

int service_entry_pack_visibility(const struct model *m, const struct service_entry *s,
				  Istio__Workload__Service *msg, struct scratch *a)
{
	const struct object *o = s->e.object;

	if (!streq(word_for(m, o->namespace_), "NAMESPACE"))
		return pack_visibility(object_value(o, "spec.exportTo"), msg, a);
	msg->visibility = ISTIO__WORKLOAD__VISIBILITY__NAMESPACE;
	return 0;
}

void model_set_entry_visibility(struct model *m, const json_t *rules)
{
	if (rules == m->entry_visibility ||
	    (rules && m->entry_visibility && json_equal(rules, m->entry_visibility)))
		return;
	json_decref(m->entry_visibility);
	m->entry_visibility = json_incref((json_t *)(uintptr_t)rules);
	m->first.bucket = NULL;
	map_for_each (m->entities[ENTITY_SERVICE_ENTRY], it)
		service_entry_mark(m, it.value);
}
