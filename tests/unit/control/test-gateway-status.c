/* SPDX-License-Identifier: Apache-2.0 */
/* gateway_status - of the Gateway API's objects only what is ours is spoken of, and what others say
 * stays as it is. */
#include "userspace/control/gateway_status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

#define NOW    "2026-11-22T11:00:00Z"
#define BEFORE "2026-01-01T00:00:00Z"

static const char *controller_of(void *arg, const char *class_name)
{
	if (streq(class_name, "mine"))
		return "istio.io/gateway-controller";
	return streq(class_name, "cilium") ? "io.cilium/gateway-controller" : NULL;
}

static const char *class_of(void *arg, const char *namespace_, const char *name)
{
	assert_string_equal(namespace_, "demo");
	if (streq(name, "waypoint"))
		return "istio-waypoint";
	return streq(name, "theirs") ? "cilium" : NULL;
}

static const json_t *parent_of(void *arg, const char *namespace_, const char *name)
{
	static json_t *ours, *theirs;

	assert_string_equal(namespace_, "demo");
	if (!ours) {
		ours = json_pack("{s:s}", "name", "waypoint");
		theirs = json_pack("{s:s,s:s}", "name", "theirs", "namespace", "demo");
	}
	if (streq(name, "more"))
		return ours;
	return streq(name, "theirs") ? theirs : NULL;
}

static bool is_selected(void *arg, const char *namespace_)
{
	return !streq(namespace_, "outside");
}

static const struct gateway_view view = {
	.controller_of = controller_of,
	.class_of = class_of,
	.parent_of = parent_of,
	.is_selected = is_selected,
};

/* @object: JSON with ' for ". Return: the status to write; NULL: none. */
static json_t *say(enum gateway_form form, const char *object)
{
	char text[4096];
	json_t *o, *status;

	assert_int_equal(str_copy(text, sizeof(text), object), 0);
	for (char *c = text; *c; c++)
		if (*c == '\'')
			*c = '"';
	o = json_loads(text, 0, NULL);
	assert_non_null(o);
	assert_int_equal(gateway_status(o, form, &view, NOW, &status), 0);
	json_decref(o);
	return status;
}

static void assert_nothing(enum gateway_form form, const char *object)
{
	assert_null(say(form, object));
}

/* Condition @i of @list is ours and says @word, and as of which version. */
static void assert_says(const json_t *list, size_t i, const char *type, const char *word)
{
	const json_t *c = json_array_get(list, i);
	const char *found, *status, *reason, *message;

	assert_int_equal(json_unpack((json_t *)(uintptr_t)c, "{s:s,s:s,s:s,s:s}", "type", &found,
				     "status", &status, "reason", &reason, "message", &message),
			 0);
	assert_string_equal(found, type);
	assert_string_equal(status, "False");
	assert_string_equal(reason, "NotHonoured");
	assert_ptr_equal(strstr(message, "as of Culvert " CULVERT_VERSION ": "), message);
	assert_non_null(strstr(message, word));
	assert_int_equal(json_integer_value(json_object_get(c, "observedGeneration")), 3);
}

static const char *since(const json_t *list, size_t i)
{
	return json_string_value(json_object_get(json_array_get(list, i), "lastTransitionTime"));
}

#define META(more) "'metadata':{'name':'x','generation':3" more "}"
#define DEMO       META(",'namespace':'demo'")

static void test_classes_are_told_by_their_controller(void **state)
{
	json_t *s = say(GATEWAY_CLASS, "{" META("") ",'spec':{'controllerName':"
						    "'istio.io/mesh-controller'}}");
	const json_t *list = json_object_get(s, "conditions");

	assert_int_equal(json_array_size(list), 1);
	assert_says(list, 0, "Accepted", "GatewayClass has no effect yet: waypoints are to come");
	json_decref(s);
	assert_nothing(GATEWAY_CLASS,
		       "{" META("") ",'spec':{'controllerName':'example.com/other'}}");
	assert_nothing(GATEWAY_CLASS, "{" META("") "}");
}

static void test_a_gateway_is_whose_class_it_is(void **state)
{
	static const char *const ours[] = {"istio", "istio-waypoint", "istio-remote",
					   "istio-east-west", "mine"};
	char object[256];

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		json_t *s;

		(void)snprintf(object, sizeof(object),
			       "{" DEMO ",'spec':{'gatewayClassName':'%s'}}", ours[i]);
		s = say(GATEWAY_GATEWAY, object);
		assert_int_equal(json_array_size(json_object_get(s, "conditions")), 2);
		assert_says(json_object_get(s, "conditions"), 0, "Accepted", "has no effect yet");
		assert_says(json_object_get(s, "conditions"), 1, "Programmed", "has no effect yet");
		json_decref(s);
	}
	assert_nothing(GATEWAY_GATEWAY, "{" DEMO ",'spec':{'gatewayClassName':'cilium'}}");
	assert_nothing(GATEWAY_GATEWAY, "{" DEMO ",'spec':{'gatewayClassName':'unheard-of'}}");
	assert_nothing(GATEWAY_GATEWAY,
		       "{" META(",'namespace':'outside'") ",'spec':{"
							  "'gatewayClassName':'istio'}}");
}

static void test_other_conditions_stay_and_what_is_said_is_not_said_again(void **state)
{
	json_t *s = say(GATEWAY_GATEWAY,
			"{" DEMO ",'spec':{'gatewayClassName':'istio'},'status':{'conditions':["
			"{'type':'Theirs','status':'True'},{'type':'Accepted','status':'Unknown',"
			"'reason':'Pending','lastTransitionTime':'" BEFORE "'},"
			"{'type':'Programmed','status':'False','reason':'Pending',"
			"'lastTransitionTime':'" BEFORE "'}]}}");
	json_t *list = json_object_get(s, "conditions"), *again;

	assert_int_equal(json_array_size(list), 3);
	assert_says(list, 0, "Accepted", "gateways are to come");
	assert_string_equal(since(list, 0), NOW);
	assert_says(list, 1, "Programmed", "gateways are to come");
	assert_string_equal(since(list, 1), BEFORE); /* it was False before */
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 2), "type")),
			    "Theirs");
	again = json_pack("{s:{s:i,s:s},s:{s:s},s:O}", "metadata", "generation", 3, "namespace",
			  "demo", "spec", "gatewayClassName", "istio", "status", s);
	json_decref(s);
	assert_int_equal(gateway_status(again, GATEWAY_GATEWAY, &view, NOW, &s), 0);
	assert_null(s);
	(void)json_object_set_new(json_object_get(again, "metadata"), "generation",
				  json_integer(4));
	assert_int_equal(gateway_status(again, GATEWAY_GATEWAY, &view, NOW, &s), 0);
	assert_non_null(s);
	json_decref(s);
	json_decref(again);
}

#define ROUTE(refs, parents)                                                                       \
	"{'kind':'HTTPRoute'," DEMO ",'spec':{'parentRefs':[" refs                                 \
	"]},'status':{'parents':[" parents "]}}"
#define SERVICE "{'group':'','kind':'Service','name':'web'}"
#define THEIRS                                                                                     \
	"{'parentRef':{'name':'theirs'},'controllerName':'io.cilium/gateway-controller',"          \
	"'conditions':[{'type':'Accepted','status':'True'}]}"
#define OURS(ref)                                                                                  \
	"{'parentRef':" ref ",'controllerName':'istio.io/gateway-controller','conditions':[]}"

static const char *parent_name(const json_t *status, size_t i)
{
	const json_t *one = json_array_get(json_object_get(status, "parents"), i);

	return json_string_value(json_object_get(json_object_get(one, "parentRef"), "name"));
}

static size_t parents(const json_t *status)
{
	return json_array_size(json_object_get(status, "parents"));
}

static void test_each_parent_of_ours_has_an_entry_and_others_are_left(void **state)
{
	json_t *s = say(GATEWAY_ROUTE,
			ROUTE("{'name':'theirs'},{'name':'waypoint','sectionName':'mesh'},{'name':"
			      "'nobody'}," SERVICE ",{'group':'networking.istio.io',"
			      "'kind':'ServiceEntry','name':'e'},{'kind':'Service','group':'',"
			      "'name':'web','namespace':'outside'}",
			      THEIRS));
	const json_t *list = json_object_get(s, "parents"), *one;

	assert_int_equal(parents(s), 4);
	assert_string_equal(parent_name(s, 0), "theirs");
	one = json_array_get(list, 0);
	assert_int_equal(json_array_size(json_object_get(one, "conditions")), 1);
	assert_string_equal(json_string_value(json_object_get(one, "controllerName")),
			    "io.cilium/gateway-controller");
	assert_string_equal(parent_name(s, 1), "waypoint");
	assert_string_equal(parent_name(s, 2), "web");
	assert_string_equal(parent_name(s, 3), "e");
	for (size_t i = 1; i < 4; i++) {
		one = json_array_get(list, i);
		assert_string_equal(json_string_value(json_object_get(one, "controllerName")),
				    "istio.io/gateway-controller");
		assert_says(json_object_get(one, "conditions"), 0, "Accepted",
			    "HTTPRoute has no effect yet");
	}
	json_decref(s);
	assert_nothing(GATEWAY_ROUTE, ROUTE("{'name':'theirs'}", THEIRS));
	assert_nothing(GATEWAY_ROUTE, ROUTE("{'name':'nobody'}", OURS("{'name':'nobody'}")));
	assert_nothing(GATEWAY_ROUTE, "{'kind':'NoRoute'," DEMO "}");
}

static void test_our_entries_go_with_their_parents(void **state)
{
	json_t *s = say(GATEWAY_ROUTE, ROUTE("{'name':'theirs'}", THEIRS "," OURS(SERVICE)));

	assert_int_equal(parents(s), 1);
	assert_string_equal(parent_name(s, 0), "theirs");
	json_decref(s);
	/* the Gateway is another's by now */
	s = say(GATEWAY_ROUTE, ROUTE("{'name':'theirs'}", OURS("{'name':'theirs'}")));
	assert_non_null(s);
	assert_int_equal(parents(s), 0);
	json_decref(s);
	/* as the API server fills it in, it is the same parent */
	s = say(GATEWAY_ROUTE, ROUTE("{'name':'waypoint'}",
				     OURS("{'group':'gateway.networking.k8s.io','kind':'Gateway',"
					  "'name':'waypoint','namespace':'demo'}")));
	assert_int_equal(parents(s), 1);
	assert_says(json_object_get(json_array_get(json_object_get(s, "parents"), 0), "conditions"),
		    0, "Accepted", "HTTPRoute");
	json_decref(s);
}

#define LISTENERS                                                                                  \
	"'spec':{'gatewayClassName':'istio','listeners':[{'name':'http','port':80},{'name':"       \
	"'https','port':443}]}"

static void test_each_listener_is_told_and_none_that_is_gone(void **state)
{
	json_t *s = say(GATEWAY_GATEWAY,
			"{" DEMO "," LISTENERS ",'status':{'listeners':[{'name':'gone',"
			"'attachedRoutes':1,'conditions':[]},{'name':'https','attachedRoutes':2,"
			"'conditions':[{'type':'Theirs','status':'True'},{'type':'Programmed',"
			"'status':'False','lastTransitionTime':'" BEFORE "'}]}]}}");
	json_t *list = json_object_get(s, "listeners"), *again;
	static const char *const names[] = {"http", "https"};

	assert_int_equal(json_array_size(list), 2);
	for (size_t i = 0; i < 2; i++) {
		const json_t *one = json_array_get(list, i),
			     *conditions = json_object_get(one, "conditions");

		assert_string_equal(json_string_value(json_object_get(one, "name")), names[i]);
		assert_int_equal(json_integer_value(json_object_get(one, "attachedRoutes")), 0);
		assert_true(json_is_array(json_object_get(one, "supportedKinds")));
		assert_int_equal(json_array_size(conditions), 2 + i);
		assert_says(conditions, 0, "Accepted", "gateways are to come");
		assert_says(conditions, 1, "Programmed", "gateways are to come");
		assert_string_equal(since(conditions, 1), i == 0 ? NOW : BEFORE);
	}
	/* once that stands there, nothing is to be written; but when a listener is taken away */
	again = json_pack("{s:{s:i,s:s},s:{s:s,s:[{s:s},{s:s}]},s:O}", "metadata", "generation", 3,
			  "namespace", "demo", "spec", "gatewayClassName", "istio", "listeners",
			  "name", "http", "name", "https", "status", s);
	json_decref(s);
	assert_int_equal(gateway_status(again, GATEWAY_GATEWAY, &view, NOW, &s), 0);
	assert_null(s);
	(void)json_array_remove(json_object_get(json_object_get(again, "spec"), "listeners"), 0);
	assert_int_equal(gateway_status(again, GATEWAY_GATEWAY, &view, NOW, &s), 0);
	assert_int_equal(json_array_size(json_object_get(s, "listeners")), 1);
	json_decref(s);
	json_decref(again);
}

#define SET(parent)                                                                                \
	"{'kind':'ListenerSet'," DEMO ",'spec':{'parentRef':" parent                               \
	",'listeners':[{'name':'http','port':80,'protocol':'HTTP'}]},'status':{'conditions':["     \
	"{'type':'Accepted','status':'Unknown','reason':'Pending'}]}}"

static void test_a_listener_set_is_whose_its_gateway_is(void **state)
{
	json_t *s = say(GATEWAY_LISTENERS, SET("{'name':'waypoint'}"));
	const json_t *list = json_object_get(s, "listeners");

	assert_int_equal(json_array_size(json_object_get(s, "conditions")), 2);
	assert_says(json_object_get(s, "conditions"), 0, "Accepted", "ListenerSet has no effect");
	assert_says(json_object_get(s, "conditions"), 1, "Programmed", "waypoints are to come");
	assert_int_equal(json_array_size(list), 1);
	assert_says(json_object_get(json_array_get(list, 0), "conditions"), 0, "Accepted",
		    "ListenerSet");
	json_decref(s);
	assert_nothing(GATEWAY_LISTENERS, SET("{'name':'theirs'}"));
	assert_nothing(GATEWAY_LISTENERS, SET("{'name':'nobody'}"));
	assert_nothing(GATEWAY_LISTENERS, SET("{'name':'waypoint','namespace':'outside'}"));
	assert_nothing(GATEWAY_LISTENERS, SET("{'group':'','kind':'Service','name':'waypoint'}"));
}

static void test_a_route_may_hang_on_a_listener_set(void **state)
{
	static const char set[] = "'group':'gateway.networking.k8s.io','kind':'ListenerSet'";
	char object[1024];
	json_t *s;

	(void)snprintf(object, sizeof(object),
		       ROUTE("{%s,'name':'theirs'},{%s,'name':'nobody'},{%s,'name':'more'}", ""),
		       set, set, set);
	s = say(GATEWAY_ROUTE, object);
	assert_int_equal(parents(s), 1);
	assert_string_equal(parent_name(s, 0), "more");
	json_decref(s);
}

#define POLICY(targets, ancestors)                                                                 \
	"{'kind':'BackendTLSPolicy'," DEMO ",'spec':{'targetRefs':[" targets                       \
	"]},'status':{'ancestors':[" ancestors "]}}"
#define ANCESTOR                                                                                   \
	"{'ancestorRef':{'name':'theirs'},'controllerName':'io.cilium/gateway-controller',"        \
	"'conditions':[]}"
#define ANCESTORS_5 ANCESTOR "," ANCESTOR "," ANCESTOR "," ANCESTOR "," ANCESTOR

static void test_a_policy_is_told_by_its_targets(void **state)
{
	json_t *s = say(GATEWAY_POLICY, POLICY(SERVICE ",{'group':'','kind':'ConfigMap','name':"
						       "'c'}",
					       ANCESTOR));
	const json_t *list = json_object_get(s, "ancestors"), *one = json_array_get(list, 1);

	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(one, "ancestorRef"), "name")),
		"web");
	assert_string_equal(json_string_value(json_object_get(one, "controllerName")),
			    "istio.io/gateway-controller");
	assert_says(json_object_get(one, "conditions"), 0, "Accepted",
		    "BackendTLSPolicy has no effect yet");
	json_decref(s);
	/* the API server takes sixteen */
	s = say(GATEWAY_POLICY, POLICY(SERVICE, ANCESTORS_5 "," ANCESTORS_5 "," ANCESTORS_5));
	assert_int_equal(json_array_size(json_object_get(s, "ancestors")), 16);
	json_decref(s);
	assert_nothing(GATEWAY_POLICY,
		       POLICY(SERVICE, ANCESTORS_5 "," ANCESTORS_5 "," ANCESTORS_5 "," ANCESTOR));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes_are_told_by_their_controller),
		cmocka_unit_test(test_a_gateway_is_whose_class_it_is),
		cmocka_unit_test(test_other_conditions_stay_and_what_is_said_is_not_said_again),
		cmocka_unit_test(test_each_parent_of_ours_has_an_entry_and_others_are_left),
		cmocka_unit_test(test_our_entries_go_with_their_parents),
		cmocka_unit_test(test_each_listener_is_told_and_none_that_is_gone),
		cmocka_unit_test(test_a_listener_set_is_whose_its_gateway_is),
		cmocka_unit_test(test_a_route_may_hang_on_a_listener_set),
		cmocka_unit_test(test_a_policy_is_told_by_its_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
