/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway_status.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "source/honoured.h"

#define REASON "NotHonoured"

/** struct said - one look at one object. */
struct said {
	const json_t *object;
	const struct gateway_view *view;
	const char *message, *now;
	bool is_new; /* something of it is not there yet */
};

static const char *meta(const struct said *s, const char *key)
{
	return json_text(json_object_get(s->object, "metadata"), key, "");
}

static json_int_t generation(const struct said *s)
{
	return json_integer_value(
		json_object_get(json_object_get(s->object, "metadata"), "generation"));
}

static bool is_said(const struct said *s, const json_t *c)
{
	return streq(json_text(c, "status", ""), "False") &&
	       streq(json_text(c, "reason", ""), REASON) &&
	       streq(json_text(c, "message", ""), s->message) &&
	       json_integer_value(json_object_get(c, "observedGeneration")) == generation(s);
}

/* @before: the condition of that type; NULL: none. */
static json_t *condition(const struct said *s, const char *type, const json_t *before)
{
	bool is_as_before = before && streq(json_text(before, "status", ""), "False");

	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:I}", "type", type, "status", "False", "reason",
			 REASON, "message", s->message, "lastTransitionTime",
			 is_as_before ? json_text(before, "lastTransitionTime", s->now) : s->now,
			 "observedGeneration", generation(s));
}

/* @have with @type saying what is to be said; those of other types stay. @ret takes them. */
static void conditions_say(struct said *s, json_t *have, const char *type, json_t *ret)
{
	json_t *one, *before = NULL;
	size_t i;

	json_array_foreach (have, i, one)
		if (streq(json_text(one, "type", ""), type))
			before = one;
	if (before && is_said(s, before)) {
		(void)json_array_append(ret, before);
		return;
	}
	s->is_new = true;
	(void)json_array_append_new(ret, condition(s, type, before));
}

static json_t *conditions(struct said *s, json_t *have, bool has_listeners)
{
	json_t *ret = json_array(), *one;
	size_t i;

	conditions_say(s, have, "Accepted", ret);
	if (has_listeners)
		conditions_say(s, have, "Programmed", ret);
	json_array_foreach (have, i, one) {
		const char *type = json_text(one, "type", "");

		if (!streq(type, "Accepted") && !(has_listeners && streq(type, "Programmed")))
			(void)json_array_append(ret, one);
	}
	return ret;
}

static json_t *status_of(const struct said *s)
{
	return json_object_get(s->object, "status");
}

/* @listener of the spec as it is to stand in the status. */
static json_t *listener(struct said *s, const json_t *listener_)
{
	json_t *have = json_object_get(status_of(s), "listeners"), *one, *ret = NULL;
	const char *name = json_text(listener_, "name", "");
	size_t i;

	json_array_foreach (have, i, one)
		if (!ret && streq(json_text(one, "name", ""), name))
			ret = json_copy(one);
	if (!ret)
		ret = json_pack("{s:s}", "name", name);
	one = conditions(s, json_object_get(ret, "conditions"), true);
	(void)json_object_set_new(ret, "attachedRoutes", json_integer(0));
	(void)json_object_set_new(ret, "supportedKinds", json_array());
	(void)json_object_set_new(ret, "conditions", one);
	return ret;
}

/* One entry for each listener, in their order: a status has no other writer than whose class it
 * is. */
static json_t *listeners(struct said *s)
{
	json_t *spec = json_object_get(s->object, "spec"), *ret = json_array(), *one;
	const json_t *have = json_object_get(status_of(s), "listeners");
	size_t i;

	json_array_foreach (json_object_get(spec, "listeners"), i, one)
		(void)json_array_append_new(ret, listener(s, one));
	s->is_new |= have ? !json_equal(ret, have) : json_array_size(ret) > 0;
	return ret;
}

static int say_conditions(struct said *s, const char *kind, const char *controller, json_t **ret)
{
	const char *rest = controller ? honoured_gateway(controller) : NULL;
	_cleanup_(freep) char *message =
		rest ? str_format(HONOURED_AS_OF "%s%s", kind, rest) : NULL;
	bool has_listeners = !streq(kind, "GatewayClass");
	json_t *all, *each;

	if (!rest)
		return 0;
	if (!message)
		return -ENOMEM;
	s->message = message;
	all = conditions(s, json_object_get(status_of(s), "conditions"), has_listeners);
	each = has_listeners ? listeners(s) : NULL;
	if (s->is_new)
		*ret = json_pack("{s:O,s:O*}", "conditions", all, "listeners", each);
	json_decref(all);
	json_decref(each);
	return s->is_new && !*ret ? -ENOMEM : 0;
}

/* A class of Istio's name that is not there is Istio's: we do not make those objects. */
static const char *controller_of(const struct said *s, const char *class_name)
{
	const char *controller = s->view->controller_of(s->view->arg, class_name);

	return controller ? controller : honoured_controller(class_name);
}

/** struct hangs_on - where a kind names what it hangs on, and where its status speaks of that. */
struct hangs_on {
	const char *spec, *status, *entry;
	size_t max; /* entries that a status takes */
};

static const struct hangs_on by_parents = {"parentRefs", "parents", "parentRef", 32};
static const struct hangs_on by_targets = {"targetRefs", "ancestors", "ancestorRef", 16};

/** struct parent - one of them, what is left out filled in. */
struct parent {
	const char *group, *kind, *namespace_, *name, *section;
	json_int_t port;
};

/* @here: the namespace of what names it. */
static struct parent parent_read(const json_t *ref, const char *here)
{
	return (struct parent){
		.group = json_text(ref, "group", HONOURED_GATEWAY_API),
		.kind = json_text(ref, "kind", "Gateway"),
		.namespace_ = json_text(ref, "namespace", here),
		.name = json_text(ref, "name", ""),
		.section = json_text(ref, "sectionName", ""),
		.port = json_integer_value(json_object_get(ref, "port")),
	};
}

static bool parent_is_same(const struct parent *a, const struct parent *b)
{
	return streq(a->group, b->group) && streq(a->kind, b->kind) &&
	       streq(a->namespace_, b->namespace_) && streq(a->name, b->name) &&
	       streq(a->section, b->section) && a->port == b->port;
}

enum whose { OURS, ANOTHERS, UNKNOWN };

/* Who serves the Gateway that is named; NULL: it is none, or nobody knows. */
static const char *gateway_controller(const struct said *s, const struct parent *p)
{
	const char *class_name = NULL;

	if (streq(p->group, HONOURED_GATEWAY_API) && streq(p->kind, "Gateway"))
		class_name = s->view->class_of(s->view->arg, p->namespace_, p->name);
	return class_name ? controller_of(s, class_name) : NULL;
}

/* The same, of a ListenerSet's Gateway, too. */
static const char *parent_controller(const struct said *s, const struct parent *p)
{
	struct parent up;
	const json_t *ref;

	if (!streq(p->group, HONOURED_GATEWAY_API) || !streq(p->kind, "ListenerSet"))
		return gateway_controller(s, p);
	ref = s->view->parent_of(s->view->arg, p->namespace_, p->name);
	if (!ref)
		return NULL;
	up = parent_read(ref, p->namespace_);
	return gateway_controller(s, &up);
}

static enum whose parent_whose(const struct said *s, const struct parent *p)
{
	const char *controller;

	if (!s->view->is_selected(s->view->arg, p->namespace_))
		return UNKNOWN;
	if ((streq(p->group, "") && streq(p->kind, "Service")) ||
	    (streq(p->group, "networking.istio.io") && streq(p->kind, "ServiceEntry")))
		return OURS;
	controller = parent_controller(s, p);
	if (controller)
		return honoured_gateway(controller) ? OURS : ANOTHERS;
	return UNKNOWN;
}

static bool is_our_entry(const json_t *entry)
{
	return streq(json_text(entry, "controllerName", ""), HONOURED_CONTROLLER);
}

static json_t *parent_find(const struct said *s, json_t *list, const char *key,
			   const struct parent *wanted)
{
	json_t *one;
	size_t i;

	json_array_foreach (list, i, one) {
		struct parent p =
			parent_read(key ? json_object_get(one, key) : one, meta(s, "namespace"));

		if ((!key || is_our_entry(one)) && parent_is_same(&p, wanted))
			return one;
	}
	return NULL;
}

/* Entries stay where they are: others', and ours that say what they are to say. One of ours goes
 * when the route no longer names that parent, or another serves it now. */
static void parents_keep(struct said *s, const struct hangs_on *on, json_t *refs, json_t *ret)
{
	json_t *have = json_object_get(status_of(s), on->status);
	json_t *one, *all;
	size_t i;

	json_array_foreach (have, i, one) {
		struct parent p =
			parent_read(json_object_get(one, on->entry), meta(s, "namespace"));
		enum whose whose = parent_whose(s, &p);

		if (!is_our_entry(one)) {
			(void)json_array_append(ret, one);
		} else if (whose == ANOTHERS || !parent_find(s, refs, NULL, &p)) {
			s->is_new = true;
		} else if (whose == UNKNOWN) {
			(void)json_array_append(ret, one);
		} else {
			all = conditions(s, json_object_get(one, "conditions"), false);
			(void)json_array_append_new(
				ret, json_pack("{s:O,s:s,s:o}", on->entry,
					       json_object_get(one, on->entry), "controllerName",
					       HONOURED_CONTROLLER, "conditions", all));
		}
	}
}

static void parents_add(struct said *s, const struct hangs_on *on, json_t *refs, json_t *ret)
{
	json_t *ref;
	size_t i;

	json_array_foreach (refs, i, ref) {
		struct parent p = parent_read(ref, meta(s, "namespace"));

		if (parent_whose(s, &p) != OURS || parent_find(s, ret, on->entry, &p) ||
		    json_array_size(ret) >= on->max)
			continue;
		(void)json_array_append_new(ret,
					    json_pack("{s:O,s:s,s:o}", on->entry, ref,
						      "controllerName", HONOURED_CONTROLLER,
						      "conditions", conditions(s, NULL, false)));
	}
}

static int say_parents(struct said *s, const struct hangs_on *on, json_t **ret)
{
	json_t *refs = json_object_get(json_object_get(s->object, "spec"), on->spec), *all;
	const char *what = honoured_not_yet(HONOURED_GATEWAY_API, json_text(s->object, "kind", ""));
	_cleanup_(freep) char *message = what ? str_format(HONOURED_AS_OF "%s", what) : NULL;

	if (!what)
		return 0;
	if (!message)
		return -ENOMEM;
	s->message = message;
	all = json_array();
	parents_keep(s, on, refs, all);
	parents_add(s, on, refs, all);
	if (s->is_new)
		*ret = json_pack("{s:O}", on->status, all);
	json_decref(all);
	return s->is_new && !*ret ? -ENOMEM : 0;
}

/* What it adds to a Gateway is served by whoever serves that. */
static int say_listeners(struct said *s, const json_t *spec, json_t **ret)
{
	struct parent p = parent_read(json_object_get(spec, "parentRef"), meta(s, "namespace"));

	if (!s->view->is_selected(s->view->arg, meta(s, "namespace")) ||
	    !s->view->is_selected(s->view->arg, p.namespace_))
		return 0;
	return say_conditions(s, "ListenerSet", gateway_controller(s, &p), ret);
}

int gateway_status(const json_t *object, enum gateway_form form, const struct gateway_view *view,
		   const char *now, json_t **ret)
{
	const json_t *spec = json_object_get(object, "spec");
	struct said s = {.object = object, .view = view, .now = now};
	const char *class_name;

	*ret = NULL;
	switch (form) {
	case GATEWAY_CLASS:
		return say_conditions(&s, "GatewayClass", json_text(spec, "controllerName", ""),
				      ret);
	case GATEWAY_GATEWAY:
		class_name = json_text(spec, "gatewayClassName", "");
		if (!view->is_selected(view->arg, meta(&s, "namespace")))
			return 0;
		return say_conditions(&s, "Gateway", controller_of(&s, class_name), ret);
	case GATEWAY_LISTENERS:
		return say_listeners(&s, spec, ret);
	case GATEWAY_POLICY:
		return say_parents(&s, &by_targets, ret);
	case GATEWAY_ROUTE:
	default:
		return say_parents(&s, &by_parents, ret);
	}
}
