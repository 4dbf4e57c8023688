/* SPDX-License-Identifier: Apache-2.0 */
/* kube - an API server's list and watch: pages, cuts, repeated and reordered events, a server
 * that refuses or says nonsense. What was known stays until something better is.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "source/kube_list.h"
#include "source/kube_prune.h"
#include "tests/unit/source/kinds.h"
#include "tests/unit/source/kube-fixture.h"

static const char *const policies[] = {"AuthorizationPolicy", NULL};

static void lists_and_watches(void **state)
{
	struct fixture *f = *state;

	synced_with(f, LIST("7", NS("a", "3") "," NS("b", "4")));
	assert_true(has(f, "put Namespace /a\n") && has(f, "put Namespace /b\n"));
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=7"));
	assert_non_null(strstr(f->api.last_watch, "allowWatchBookmarks=true"));
	fake_push(&f->api, EVENT("ADDED", NS("c", "8")));
	UNTIL(f, f->heard.synced == 2);
	fake_push(&f->api, EVENT("DELETED", NS("a", "9")));
	UNTIL(f, f->heard.synced == 3);
	assert_true(has(f, "put Namespace /c\ndelete Namespace /a\n"));
}

static void takes_lists_in_pages(void **state)
{
	struct fixture *f = *state;

	f->api.pages[1] = LIST("5", NS("b", "4"));
	synced_with(f, PAGE("n2", NS("a", "3")));
	assert_int_equal(f->api.n_lists, 2);
	assert_non_null(strstr(f->api.last_list, "continue=n2"));
	assert_true(has(f, "/a") && has(f, "/b"));
}

static void takes_frames_cut_anywhere(void **state)
{
	struct fixture *f = *state;
	const char *frame = EVENT("ADDED", NS("c", "8"));
	char one[2] = "";

	synced_with(f, LIST("7", ""));
	for (const char *p = frame; *p; p++) {
		one[0] = *p;
		fake_push(&f->api, one);
		(void)loop_run_once(f->loop, 1);
	}
	UNTIL(f, has(f, "put Namespace /c"));
	assert_int_equal(f->api.n_lists, 1);
}

static void repeated_and_reordered_events_change_nothing(void **state)
{
	struct fixture *f = *state;

	synced_with(f, LIST("7", NS_LABEL("a", "7", "new")));
	fake_push(&f->api, EVENT("MODIFIED", NS_LABEL("a", "7", "new")));
	fake_push(&f->api, EVENT("MODIFIED", NS_LABEL("a", "5", "old")));
	fake_push(&f->api, EVENT("DELETED", NS("a", "4")));
	fake_push(&f->api, EVENT("ADDED", NS("z", "9")));
	UNTIL(f, has(f, "put Namespace /z"));
	assert_string_equal(f->heard.text, "put Namespace /a\nput Namespace /z\n");
}

static void a_change_of_bookkeeping_is_none(void **state)
{
	struct fixture *f = *state;

	synced_with(f, LIST("7", NS("a", "7")));
	fake_push(&f->api, EVENT("MODIFIED", NS("a", "8")) EVENT("ADDED", NS("z", "9")));
	UNTIL(f, has(f, "put Namespace /z"));
	assert_string_equal(f->heard.text, "put Namespace /a\nput Namespace /z\n");
}

/* Whoever is there when it is open again may have been restored from an older state, and be past
 * where it was cut. */
static void a_cut_watch_is_listed_anew(void **state)
{
	struct fixture *f = *state;

	f->api.pages[1] = LIST("90", NS_LABEL("a", "3", "older"));
	synced_with(f, LIST("7", NS("a", "7") "," NS("b", "6")));
	fake_push(&f->api, EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"42\"}}"));
	fake_push(&f->api, "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"na");
	for (int i = 0; i < 20; i++)
		(void)loop_run_once(f->loop, 5);
	fake_cut(&f->api);
	UNTIL(f, f->api.n_watches == 2);
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=90"));
	assert_int_equal(f->api.n_lists, 2);
	assert_int_equal(count_of(f->heard.text, "put Namespace /a\n"), 2);
	assert_true(has(f, "delete Namespace /b"));
	fake_push(&f->api, EVENT("ADDED", NS("c", "93")));
	UNTIL(f, has(f, "put Namespace /c"));
}

static void an_ended_watch_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;

	synced_with(f, LIST("7", NS("a", "7")));
	fake_push(&f->api, EVENT("ADDED", NS("b", "12")));
	fake_end(&f->api);
	UNTIL(f, f->api.n_watches == 2);
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=12"));
	assert_int_equal(f->api.n_lists, 1);
}

static void nonsense_lists_anew(void **state)
{
	struct fixture *f = *state;
	static const char *const bad[] = {
		"no JSON at all\n",
		"[]\n",
		EVENT("CHANGED", NS("a", "8")),
		EVENT("ADDED", "[]"),
		EVENT("ADDED", "{\"metadata\":{}}"),
		EVENT("ADDED", "{\"metadata\":{\"name\":\"x\"}}"),
	};

	for (size_t i = 1; i <= ARRAY_SIZE(bad); i++)
		f->api.pages[i] = LIST("7", NS("a", "7"));
	synced_with(f, LIST("7", NS("a", "7")));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		size_t lists = f->api.n_lists, watches = f->api.n_watches;

		fake_push(&f->api, bad[i]);
		UNTIL(f, f->api.n_lists > lists && f->api.n_watches > watches);
		assert_false(has(f, "delete Namespace /a"));
	}
}

static void trouble_is_told_once_and_cleared(void **state)
{
	struct fixture *f = *state;

	f->api.list_status = 403;
	start(f, namespaces);
	UNTIL(f, f->api.n_lists >= 3);
	assert_true(has(f, "RBAC"));
	assert_int_equal(count_of(f->heard.text, "error "), 1);
	assert_true(has(f, "because"));
	assert_int_equal(f->heard.synced, 0);
	memset(f->heard.text, 0, sizeof(f->heard.text));
	f->api.list_status = 200;
	f->api.pages[f->api.n_lists] = LIST("7", NS("a", "7"));
	UNTIL(f, f->heard.synced == 1);
	assert_true(has(f, "cleared /api/v1/namespaces"));
	assert_true(has(f, "put Namespace /a"));
}

static void a_kind_that_is_not_there_is_empty(void **state)
{
	struct fixture *f = *state;

	f->api.list_status = 404;
	f->api.on_request = fake_groups;
	start(f, policies);
	UNTIL(f, f->heard.synced == 1);
	assert_string_equal(f->heard.text, "");
	/* nor in an older version; asked again after the groups */
	assert_int_equal(f->api.n_lists, 4);
	assert_true(str_has_prefix(f->api.last_list,
				   "/apis/security.istio.io/v1beta1/authorizationpolicies?"));
}

#define POLICY(version, action)                                                                    \
	"{\"apiVersion\":\"security.istio.io/v1\",\"kind\":\"AuthorizationPolicy\",\"metadata\":{" \
	"\"name\":\"p\",\"namespace\":\"demo\",\"resourceVersion\":\"" version                     \
	"\"},\"spec\":{\"rules\":[{}],\"action\":" action "}}"

static void a_policy_of_the_wrong_shape_denies_or_keeps_what_was_good(void **state)
{
	struct fixture *f = *state;

	f->api.pages[0] = LIST("7", POLICY("3", "7"));
	start(f, policies);
	UNTIL(f, f->heard.synced == 1);
	assert_true(has(f,
			"error /apis/security.istio.io/v1/namespaces/demo/authorizationpolicies/p: "
			"AuthorizationPolicy demo/p: spec.action:"));
	assert_true(has(f, "put AuthorizationPolicy demo/p invalid"));
	UNTIL(f, f->api.n_watches == 1);
	memset(f->heard.text, 0, sizeof(f->heard.text));
	fake_push(&f->api, EVENT("MODIFIED", POLICY("8", "\"DENY\"")));
	UNTIL(f, has(f, "put AuthorizationPolicy demo/p\n"));
	fake_push(&f->api, EVENT("MODIFIED", POLICY("9", "\"DENIAL\"")));
	UNTIL(f, has(f, "error "));
	assert_false(has(f, "invalid"));
	assert_false(has(f, "delete"));
}

#define ENTRY_OF(version, generation, how)                                                         \
	"{\"apiVersion\":\"networking.istio.io/v1\",\"kind\":\"ServiceEntry\",\"metadata\":{"      \
	"\"name\":\"e\",\"namespace\":\"demo\",\"generation\":" generation                         \
	",\"resourceVersion\":\"" version                                                          \
	"\"},\"spec\":{\"hosts\":[\"a.b\"],\"resolution\":\"" how                                  \
	"\",\"ports\":[{\"number\":443,\"name\":\"tls\",\"protocol\":\"TLS\"}]}}"
#define ENTRY(version, how) ENTRY_OF(version, "1", how)
#define ENTRY_FILE          "/apis/networking.istio.io/v1/namespaces/demo/serviceentries/e"

/* Not only with one that was good before: the next of its name would have it as its status. */
static void an_error_goes_with_its_object(void **state)
{
	static const char *const entries[] = {"ServiceEntry", NULL};
	struct fixture *f = *state;

	f->api.pages[0] = LIST("7", ENTRY("3", "NONSENSE"));
	f->api.pages[1] = LIST("12", "");
	start(f, entries);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
	fake_push(&f->api, EVENT("DELETED", ENTRY("8", "NONSENSE")));
	fake_push(&f->api, EVENT("ADDED", ENTRY("9", "NONSENSE")));
	UNTIL(f, count_of(f->heard.text, "error " ENTRY_FILE) == 2);
	assert_int_equal(count_of(f->heard.text, "cleared " ENTRY_FILE "\n"), 1);
	/* or a list does not name it any more */
	fake_push(&f->api, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
	UNTIL(f, f->api.n_watches == 2);
	assert_int_equal(count_of(f->heard.text, "cleared " ENTRY_FILE "\n"), 2);
	fake_push(&f->api, EVENT("ADDED", ENTRY("13", "DNS")));
	UNTIL(f, has(f, "put ServiceEntry demo/e\n"));
	assert_int_equal(count_of(f->heard.text, "error " ENTRY_FILE), 2);
}

/* Who writes its status hears of it at once, not with the next change of anything. */
static void a_mistake_is_an_end_of_a_change_and_so_is_its_mending(void **state)
{
	static const char *const entries[] = {"ServiceEntry", NULL};
	struct fixture *f = *state;

	f->api.pages[0] = LIST("7", ENTRY("3", "DNS"));
	start(f, entries);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
	fake_push(&f->api, EVENT("MODIFIED", ENTRY_OF("8", "2", "NONSENSE")));
	UNTIL(f, f->heard.synced == 2);
	assert_true(has(f, "error " ENTRY_FILE));
	assert_int_equal(f->heard.generation, 2);
	/* as it was before: nothing is put */
	fake_push(&f->api, EVENT("MODIFIED", ENTRY("9", "DNS")));
	UNTIL(f, f->heard.synced == 3);
	assert_true(has(f, "cleared " ENTRY_FILE "\n"));
	assert_int_equal(count_of(f->heard.text, "put "), 1);
}

/* A list of both: the bad one is named with its place, the good one is there. */
static void sample_is_read(void *arg, const struct kind_sample *s)
{
	const char *const kinds[] = {s->kind->kind, NULL};
	_cleanup_(freep) char *bad = json_dumps(s->bad, JSON_COMPACT);
	_cleanup_(freep) char *good = json_dumps(s->good, JSON_COMPACT);
	_cleanup_(freep) char *list = str_format(LIST("7", "%s,%s"), bad, good);
	_cleanup_(freep) char *named = str_format("/bad: %s demo/bad: spec.", kinds[0]);
	_cleanup_(freep) char *is_put = str_format("put %s demo/good\n", kinds[0]);
	_cleanup_(freep) char *denies = str_format("put %s demo/bad invalid\n", kinds[0]);
	void *state = NULL;
	struct fixture *f;

	assert_int_equal(setup(&state), 0);
	f = state;
	f->api.pages[0] = list;
	start(f, kinds);
	UNTIL(f, f->heard.synced == 1);
	if (!has(f, named) || !has(f, is_put) || has(f, denies) != s->kind->is_security ||
	    count_of(f->heard.text, "put ") != 1u + s->kind->is_security)
		fail_msg("%s", f->heard.text);
	assert_int_equal(teardown(&state), 0);
	++*(unsigned int *)arg;
}

static void one_of_the_wrong_shape_is_named_and_others_are_unaffected(void **state)
{
	unsigned int n = 0;

	kinds_for_each(kinds_read, sample_is_read, &n);
	assert_int_equal(n, 6);
}

static void the_token_is_read_anew(void **state)
{
	struct fixture *f = *state;
	const char *path = token_file_make(f, "one\n");

	synced_with(f, LIST("7", ""));
	assert_string_equal(f->api.last_auth, "Authorization: Bearer one");
	assert_int_equal(file_write_atomic(path, "two", 3, 0600), 0);
	fake_push(&f->api, EVENT("ADDED", NS("a", "8")));
	fake_end(&f->api);
	UNTIL(f, f->api.n_watches == 2);
	assert_string_equal(f->api.last_auth, "Authorization: Bearer two");
	(void)unlink(path);
}

static void a_pod_is_kept_without_what_nobody_reads(void **state)
{
	static const char *const pods[] = {"Pod", NULL};
	struct fixture *f = *state;

	f->api.pages[0] = LIST(
		"7", "{\"metadata\":{\"name\":\"w\",\"namespace\":\"d\",\"resourceVersion\":\"5\","
		     "\"managedFields\":[{}]},\"spec\":{\"nodeName\":\"n1\",\"volumes\":[{}],"
		     "\"containers\":[{\"name\":\"c\",\"env\":[{}],\"ports\":[]}]},\"status\":{"
		     "\"phase\":\"Running\",\"podIP\":\"10.0.0.1\",\"qosClass\":\"x\"}}");
	f->api.pages[1] = NULL;
	start(f, pods);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
	assert_true(has(f, "put Pod d/w"));
	/* only what is left out differs */
	fake_push(
		&f->api,
		EVENT("MODIFIED",
		      "{\"metadata\":{\"name\":\"w\",\"namespace\":\"d\",\"resourceVersion\":\"8\"}"
		      ","
		      "\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"ports\":[]}]"
		      "},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\"}}")
			EVENT("ADDED", "{\"metadata\":{\"name\":\"z\",\"namespace\":\"d\","
				       "\"resourceVersion\":\"9\"}}"));
	UNTIL(f, has(f, "put Pod d/z"));
	assert_string_equal(f->heard.text, "put Pod d/w\nput Pod d/z\n");
}

static void a_slice_is_kept_without_what_its_pods_say_themselves(void **state)
{
	json_t *slice = json_loads(
		"{\"metadata\":{\"name\":\"s\",\"managedFields\":[1]},\"endpoints\":["
		"{\"addresses\":[\"10.0.0.1\"],\"conditions\":{\"ready\":true,\"serving\":true},"
		"\"nodeName\":\"n\",\"targetRef\":{\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"u\"}},"
		"{\"addresses\":[\"10.0.0.2\"],\"conditions\":{\"ready\":false,\"serving\":true},"
		"\"nodeName\":\"n\",\"zone\":\"z\",\"hostname\":\"h\",\"hints\":{}}]}",
		0, NULL);
	json_t *want = json_loads("{\"metadata\":{\"name\":\"s\"},\"endpoints\":["
				  "{\"targetRef\":{\"kind\":\"Pod\",\"name\":\"p\"}},"
				  "{\"addresses\":[\"10.0.0.2\"],\"conditions\":{\"ready\":false},"
				  "\"nodeName\":\"n\",\"zone\":\"z\",\"hostname\":\"h\"}]}",
				  0, NULL);

	kube_prune("EndpointSlice", slice);
	assert_true(json_equal(slice, want));
	json_decref(slice);
	json_decref(want);
}

static void what_nobody_reads_is_left_out_of_a_text(void **state)
{
	static const char *const cases[][3] = {
		{NULL, "{\"metadata\":{\"a\":1,\"managedFields\":[{\"f:x\":{\"]\":[1]}}],\"b\":2}}",
		 "{\"metadata\":{\"a\":1,\"b\":2}}"},
		{NULL, "{\"metadata\":{\"managedFields\":{\"a\":\"}\\\"}\"}},\"spec\":{\"x\":[]}}",
		 "{\"metadata\":{},\"spec\":{\"x\":[]}}"},
		{NULL, " { \"metadata\" : { \"selfLink\" : 1 , \"a\" : [ 1 , 2 ] } } ",
		 "{\"metadata\":{\"a\":[ 1 , 2 ]}}"},
		{NULL, "{\"managedFields\":7}", "{\"managedFields\":7}"},
		{"Pod",
		 "{\"metadata\":{\"labels\":{\"env\":\"x\"},\"resourceVersion\":\"7\","
		 "\"annotations\":{"
		 "\"a\":\"\\\"managedFields\\\":[\",\"kubectl.kubernetes.io/"
		 "last-applied-configuration\":\"{}\"}},\"spec\":{\"containers\":[{\"env\":[{}],"
		 "\"name\":\"c\"},7,[{\"env\":0}]],\"nodeName\":\"n\",\"volumes\":[{}]},\"status\":"
		 "{"
		 "\"conditions\":[{\"type\":\"Ready\",\"message\":\"m\"}],\"podIP\":\"1.2.3.4\"}}",
		 "{\"metadata\":{\"labels\":{\"env\":\"x\"},\"resourceVersion\":\"7\","
		 "\"annotations\":{"
		 "\"a\":\"\\\"managedFields\\\":[\"}},\"spec\":{\"containers\":[{\"name\":\"c\"},7,"
		 "[{\"env\":0}]],\"nodeName\":\"n\"},\"status\":{\"conditions\":[{\"type\":"
		 "\"Ready\"}],"
		 "\"podIP\":\"1.2.3.4\"}}"},
		{"Pod", "{\"spec\":null,\"status\":[]}", "{\"spec\":null,\"status\":[]}"},
		/* no JSON: as it is, for the parser to refuse */
		{"Pod", "{\"spec\":{\"volumes\":[[", "{\"spec\":{\"volumes\":[["},
		{"Pod", "{\"spec\":[\"\\", "{\"spec\":[\"\\"},
		{"Pod", "{\"spec\":{}} x", "{\"spec\":{}} x"},
		{"Pod", "{\"spec\"", "{\"spec\""},
		{"Pod", "{,}", "{,}"},
		{"Pod", "[]", "[]"},
		{"Pod", "\"", "\""},
		{"Pod", "", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len;
		char *text = kube_prune_text(cases[i][0], cases[i][1], strlen(cases[i][1]), &len);

		assert_int_equal(len, strlen(cases[i][2]));
		assert_memory_equal(text, cases[i][2], len);
		free(text);
	}
}

/* A NUL ends neither a key nor an object. */
static void a_nul_in_a_text_is_a_byte_like_others(void **state)
{
	static const char in_key[] = "{\"spec\0\0\0\":{\"x\":1}}", behind[] = "{\"spec\":{}}\0x";
	size_t len;
	char *text;

	text = kube_prune_text("Pod", in_key, sizeof(in_key) - 1, &len);
	assert_int_equal(len, sizeof(in_key) - 1);
	assert_memory_equal(text, in_key, len);
	free(text);
	text = kube_prune_text("Pod", behind, sizeof(behind) - 1, &len);
	assert_int_equal(len, sizeof(behind) - 1);
	assert_memory_equal(text, behind, len);
	free(text);
}

static void a_list_that_breaks_off_takes_nothing_away(void **state)
{
	static const char *const bad[] = {
		"{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[" NS("b", "4") ",{\"meta",
		"{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":[{\"metadata\":{}}]}",
		"{\"metadata\":{\"resourceVersion\":\"8\"},\"items\":\"none\"}",
		"{\"items\":[]}",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		f->api.pages[i + 1] = bad[i];
	f->api.pages[ARRAY_SIZE(bad) + 1] = LIST("9", NS("b", "4"));
	synced_with(f, LIST("7", NS("a", "3")));
	fake_push(&f->api, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
	UNTIL(f, f->api.n_lists == ARRAY_SIZE(bad) + 1);
	assert_true(has(f, "malformed"));
	assert_false(has(f, "delete Namespace /a"));
	UNTIL(f, f->api.n_watches == 2);
	assert_true(has(f, "delete Namespace /a") && has(f, "put Namespace /b"));
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=9"));
}

static int item_name(void *arg, json_t *item)
{
	char *names = arg;

	(void)strcat(names, json_string_value(json_object_get(item, "n")));
	return 0;
}

static void a_list_may_be_cut_anywhere(void **state)
{
	static const char page[] =
		"{\"kind\":\"items\",\"list\":[1],\"metadata\":{\"items\":[{}],\"continue\":\"c\"},"
		"\"items\" : [{\"n\":\"a\",\"x\":\"]}\\\\\\\"{\"}, "
		"{\"n\":\"b\",\"items\":[{}]},7,[8]"
		"],\"more\":{}}";

	for (size_t cut = 0; cut < sizeof(page); cut++) {
		struct kube_list l = {0};
		char names[8] = "";
		json_t *rest;

		assert_int_equal(kube_list_feed(&l, page, cut, item_name, names), 0);
		assert_int_equal(
			kube_list_feed(&l, page + cut, strlen(page + cut), item_name, names), 0);
		rest = kube_list_end(&l);
		assert_string_equal(names, "ab");
		assert_string_equal(json_string_value(json_object_get(
					    json_object_get(rest, "metadata"), "continue")),
				    "c");
		assert_int_equal(json_array_size(json_object_get(rest, "items")), 0);
		assert_true(json_is_object(json_object_get(rest, "more")));
		json_decref(rest);
		kube_list_reset(&l);
	}
}

static void nothing_is_no_list(void **state)
{
	struct kube_list l = {0};

	assert_null(kube_list_end(&l));
	assert_int_equal(kube_list_feed(&l, "[]", 2, item_name, NULL), 0);
	assert_null(kube_list_end(&l));
	kube_list_reset(&l);
}

static void a_list_without_bounds_is_refused(void **state)
{
	static char much[1 << 20];
	const char *const begins[] = {"{\"metadata\":\"", "{\"items\":[{\"a\":\""};

	memset(much, 'x', sizeof(much));
	for (size_t i = 0; i < ARRAY_SIZE(begins); i++) {
		struct kube_list l = {0};
		int r = kube_list_feed(&l, begins[i], strlen(begins[i]), item_name, NULL);

		for (size_t n = 0; r == 0 && n < 16; n++)
			r = kube_list_feed(&l, much, sizeof(much), item_name, NULL);
		assert_int_equal(r, -EMSGSIZE);
		kube_list_reset(&l);
	}
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(lists_and_watches),
		CASE(takes_lists_in_pages),
		CASE(takes_frames_cut_anywhere),
		CASE(repeated_and_reordered_events_change_nothing),
		CASE(a_change_of_bookkeeping_is_none),
		CASE(a_cut_watch_is_listed_anew),
		CASE(an_ended_watch_goes_on_where_it_was),
		CASE(nonsense_lists_anew),
		CASE(trouble_is_told_once_and_cleared),
		CASE(a_kind_that_is_not_there_is_empty),
		CASE(a_policy_of_the_wrong_shape_denies_or_keeps_what_was_good),
		CASE(an_error_goes_with_its_object),
		CASE(a_mistake_is_an_end_of_a_change_and_so_is_its_mending),
		cmocka_unit_test(one_of_the_wrong_shape_is_named_and_others_are_unaffected),
		CASE(the_token_is_read_anew),
		CASE(a_pod_is_kept_without_what_nobody_reads),
		CASE(a_slice_is_kept_without_what_its_pods_say_themselves),
		CASE(what_nobody_reads_is_left_out_of_a_text),
		CASE(a_list_that_breaks_off_takes_nothing_away),
		CASE(a_nul_in_a_text_is_a_byte_like_others),
		CASE(a_list_may_be_cut_anywhere),
		CASE(nothing_is_no_list),
		CASE(a_list_without_bounds_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
