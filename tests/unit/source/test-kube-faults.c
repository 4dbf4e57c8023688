/* SPDX-License-Identifier: Apache-2.0 */
/* kube - an API server that has lost what it had: 410 Gone, away for long, restored from an older
 * state, or no longer content with our token. What was known stays until something better is. */
#include <errno.h>

#include "tests/unit/fast-clock.h"
#include "tests/unit/source/kube-fixture.h"

#define SECURITY "/apis/security.istio.io/"

static const char *const policies[] = {"AuthorizationPolicy", NULL};

static void gone_lists_anew_and_drops_what_is_not_there(void **state)
{
	struct fixture *f = *state;

	f->api.pages[1] = LIST("90", NS("b", "4") "," NS("c", "80"));
	synced_with(f, LIST("7", NS("a", "3") "," NS("b", "4")));
	fake_push(&f->api, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
	UNTIL(f, f->api.n_watches == 2 && f->heard.synced >= 2);
	assert_true(has(f, "delete Namespace /a"));
	assert_true(has(f, "put Namespace /c"));
	assert_false(has(f, "delete Namespace /b"));
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=90"));
}

static void a_server_restored_from_an_older_state_is_believed(void **state)
{
	struct fixture *f = *state;

	f->api.pages[1] = LIST("20", NS_LABEL("a", "10", "older"));
	synced_with(f, LIST("700", NS_LABEL("a", "600", "newer")));
	fake_push(&f->api, EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"));
	UNTIL(f, f->api.n_watches == 2);
	assert_string_equal(f->heard.text, "put Namespace /a\nput Namespace /a\n");
}

/* The server does not answer until @f has tried in vain. */
static void be_away(struct fixture *f)
{
	size_t lists = f->api.n_lists;

	f->api.list_status = 503;
	fake_cut(&f->api);
	UNTIL(f, f->api.n_lists == lists + 1);
	f->api.list_status = 200;
}

static void a_server_that_comes_back_with_an_older_state_is_listed_anew(void **state)
{
	struct fixture *f = *state;

	synced_with(f, LIST("700", NS_LABEL("a", "600", "newer") "," NS("b", "650")));
	f->api.pages[2] = LIST("20", NS_LABEL("a", "10", "older"));
	be_away(f);
	UNTIL(f, f->api.n_watches == 2);
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=20"));
	assert_true(has(f, "delete Namespace /b"));
	memset(f->heard.text, 0, sizeof(f->heard.text));
	fake_push(&f->api, EVENT("MODIFIED", NS_LABEL("a", "21", "again")));
	UNTIL(f, has(f, "put Namespace /a"));
}

/* Restored, and busy since: what was undone on the way is not in what it would tell. */
static void a_server_that_is_past_what_was_seen_is_listed_anew(void **state)
{
	struct fixture *f = *state;

	synced_with(f, LIST("700", NS_LABEL("a", "600", "newer") "," NS("b", "650")));
	f->api.pages[2] = LIST("900", NS_LABEL("a", "10", "older"));
	be_away(f);
	UNTIL(f, f->api.n_watches == 2);
	assert_int_equal(f->api.n_lists, 3);
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=900"));
	assert_int_equal(count_of(f->heard.text, "put Namespace /a\n"), 2);
	assert_true(has(f, "delete Namespace /b"));
}

static void a_bookmark_that_goes_back_lists_anew(void **state)
{
	struct fixture *f = *state;

	f->api.pages[1] = LIST("20", NS("b", "10"));
	synced_with(f, LIST("700", NS("a", "600")));
	fake_push(&f->api, EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"20\"}}"));
	UNTIL(f, f->api.n_watches == 2);
	assert_true(has(f, "put Namespace /b") && has(f, "delete Namespace /a"));
}

static void gone_as_an_answer_lists_anew(void **state)
{
	struct fixture *f = *state;

	f->api.pages[1] = LIST("90", NS("c", "80"));
	synced_with(f, LIST("7", NS("a", "3")));
	f->api.watch_status = 410;
	fake_end(&f->api);
	UNTIL(f, f->api.n_watches == 2);
	f->api.watch_status = 200;
	UNTIL(f, f->api.n_watches == 3);
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=90"));
	assert_true(has(f, "delete Namespace /a") && has(f, "put Namespace /c"));
}

static bool refuse_second_page(struct fake_api *a, int fd, const char *method, const char *path,
			       const char *body)
{
	if (!strstr(path, "continue=") || a->n_lists > 1)
		return false;
	fake_answer(fd, 410, "{\"kind\":\"Status\",\"code\":410}");
	a->n_lists++;
	return true;
}

static void a_page_that_is_gone_begins_the_list_anew(void **state)
{
	struct fixture *f = *state;

	f->api.on_request = refuse_second_page;
	f->api.pages[2] = PAGE("n3", NS("a", "3"));
	f->api.pages[3] = LIST("5", NS("b", "4"));
	synced_with(f, PAGE("n2", NS("a", "3")));
	assert_int_equal(f->api.n_lists, 4);
	assert_non_null(strstr(f->api.last_list, "continue=n3"));
	assert_true(has(f, "put Namespace /a\n") && has(f, "put Namespace /b\n"));
	assert_false(has(f, "delete"));
}

#define AWAY_US 1800000000ULL

static void half_an_hour_without_a_server(void **state)
{
	struct fixture *f = *state;
	uint64_t until_us;
	size_t lists;

	synced_with(f, LIST("7", NS("a", "7")));
	lists = f->api.n_lists;
	f->api.pages[lists] = LIST("9", NS("a", "7"));
	the_clock.is_fast = true;
	f->api.is_away = true;
	fake_cut(&f->api);
	until_us = now_monotonic_us() + AWAY_US;
	while (now_monotonic_us() < until_us)
		assert_true(loop_run_once(f->loop, -1) >= 0);
	/* every ten seconds and what keeps clients apart, less often where the fake server is slow:
	 * neither a storm nor silence */
	assert_in_range(f->api.n_tries, AWAY_US / 60000000, AWAY_US / 10000000 + 10);
	assert_int_equal(count_of(f->heard.text, "error "), 1);
	assert_false(has(f, "delete"));
	f->api.is_away = false;
	until_us = now_monotonic_us() + 30000000;
	while (f->api.n_watches < 2 && now_monotonic_us() < until_us)
		assert_true(loop_run_once(f->loop, 1000) >= 0);
	the_clock.is_fast = false;
	assert_int_equal(f->api.n_watches, 2);
	assert_int_equal(f->api.n_lists, lists + 1);
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=9"));
	assert_true(has(f, "cleared /api/v1/namespaces"));
	fake_push(&f->api, EVENT("ADDED", NS("c", "10")));
	UNTIL(f, has(f, "put Namespace /c"));
}

static bool list_always(struct fake_api *a, int fd, const char *method, const char *path,
			const char *body)
{
	if (strstr(path, "watch=1"))
		return false;
	a->n_lists++;
	fake_answer(fd, 200, LIST("7", NS("a", "7")));
	return true;
}

#define REFUSED_US 60000000ULL

/* Each refusal lists anew, and each list succeeds. */
static void watches_that_are_refused_are_no_storm_of_lists(void **state)
{
	struct fixture *f = *state;
	uint64_t until_us;

	synced_with(f, LIST("7", NS("a", "7")));
	f->api.on_request = list_always;
	f->api.watch_status = 503;
	the_clock.is_fast = true;
	fake_cut(&f->api);
	until_us = now_monotonic_us() + REFUSED_US;
	while (now_monotonic_us() < until_us)
		assert_true(loop_run_once(f->loop, -1) >= 0);
	the_clock.is_fast = false;
	assert_in_range(f->api.n_lists, 2, REFUSED_US / 10000000 + 15);
	assert_false(has(f, "delete"));
}

/* Each list succeeds, each watch ends after the one event that is the arg. */
static bool end_watches(struct fake_api *a, int fd, const char *method, const char *path,
			const char *body)
{
	if (strstr(path, "watch=1")) {
		a->n_watches++;
		fake_answer(fd, 200, a->arg);
	} else {
		a->n_lists++;
		fake_answer(fd, 200, LIST("7", NS("a", "7")));
	}
	return true;
}

static void watches_that_end_at_once_are_no_storm(void **state)
{
	static char *const events[] = {
		EVENT("ERROR", "{\"kind\":\"Status\",\"code\":410}"),
		EVENT("ERROR", "{\"kind\":\"Status\",\"code\":500}"),
		EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"8\"}}"),
	};
	struct fixture *f = *state;
	uint64_t until_us;

	synced_with(f, LIST("7", NS("a", "7")));
	f->api.on_request = end_watches;
	fake_end(&f->api);
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		f->api.arg = events[i];
		f->api.n_lists = f->api.n_watches = 0;
		the_clock.is_fast = true;
		until_us = now_monotonic_us() + REFUSED_US;
		while (now_monotonic_us() < until_us)
			assert_true(loop_run_once(f->loop, -1) >= 0);
		the_clock.is_fast = false;
		assert_in_range(f->api.n_watches, 2, REFUSED_US / 10000000 + 15);
		assert_in_range(f->api.n_lists, 0, f->api.n_watches + 1);
	}
	assert_false(has(f, "delete"));
}

static bool refuse_token_one(struct fake_api *a, int fd, const char *method, const char *path,
			     const char *body)
{
	if (!streq(a->last_auth, "Authorization: Bearer one"))
		return false;
	fake_answer(fd, 401, "{\"message\":\"the token has expired\"}");
	return true;
}

static void a_token_that_has_expired_is_waited_for(void **state)
{
	struct fixture *f = *state;
	const char *path = token_file_make(f, "one\n");

	synced_with(f, LIST("7", NS("a", "7")));
	f->api.on_request = refuse_token_one;
	fake_end(&f->api);
	UNTIL(f, has(f, "does not accept our token: the token has expired"));
	assert_int_equal(f->api.n_watches, 1);
	assert_false(has(f, "delete"));
	assert_int_equal(file_write_atomic(path, "two", 3, 0600), 0);
	UNTIL(f, f->api.n_watches == 2);
	assert_non_null(strstr(f->api.last_watch, "resourceVersion=7"));
	fake_push(&f->api, EVENT("ADDED", NS("c", "8")));
	UNTIL(f, has(f, "put Namespace /c"));
	assert_true(has(f, "cleared /api/v1/namespaces"));
	(void)unlink(path);
}

/* It passes lists on, but answers for a server that it does not reach; the arg is what it says. */
static bool gateway(struct fake_api *a, int fd, const char *method, const char *path,
		    const char *body)
{
	if (!a->arg)
		return false;
	a->n_lists += streq(path, "/apis") ? 0 : 1;
	fake_answer(fd, 404, a->arg);
	return true;
}

static void not_found_takes_nothing_away_unless_an_api_server_says_so(void **state)
{
	static const char *const kinds[] = {"Namespace", "AuthorizationPolicy", NULL};
	static char *const says[] = {"404 page not found\n",
				     "{\"kind\":\"Status\",\"code\":404,\"reason\":\"NotFound\"}"};
	struct fixture *f = *state;

	f->api.pages[0] = LIST("7", NS("a", "3"));
	f->api.pages[1] = LIST("7", NS("a", "3"));
	f->api.on_request = gateway;
	start(f, kinds);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 2);
	for (size_t i = 0; i < ARRAY_SIZE(says); i++) {
		size_t lists = f->api.n_lists;

		f->api.arg = says[i];
		for (size_t n = 0; n < f->api.n_conns; n++)
			(void)shutdown(f->api.conns[n].w.fd, SHUT_RDWR);
		UNTIL(f, f->api.n_lists > lists + 8);
	}
	assert_false(has(f, "delete"));
	assert_true(has(f, "error /api/v1/namespaces: Namespace : the API server answers 404"));
	assert_true(has(f, "error " SECURITY "v1/authorizationpolicies"));
}

/* An API server that has policies in one version only, the arg. Return: has it been answered? */
static bool has_one_version(struct fake_api *a, int fd, const char *method, const char *path,
			    const char *body)
{
	if (str_has_prefix(path, a->arg))
		return false;
	fake_answer(fd, 404, "{}");
	return true;
}

#define POLICY(version, of, action)                                                                \
	"{\"apiVersion\":\"security.istio.io/" version "\",\"kind\":\"AuthorizationPolicy\","      \
	"\"metadata\":{\"name\":\"p\",\"namespace\":\"demo\",\"resourceVersion\":\"" of            \
	"\"},\"spec\":{\"rules\":[{}],\"action\":" action "}}"

static void a_kind_is_read_in_an_older_version_where_there_is_no_newer(void **state)
{
	struct fixture *f = *state;

	f->api.on_request = has_one_version;
	f->api.arg = SECURITY "v1beta1/";
	f->api.pages[0] = LIST("7", POLICY("v1beta1", "3", "\"DENY\""));
	start(f, policies);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
	assert_string_equal(f->heard.text, "put AuthorizationPolicy demo/p\n");
	assert_true(str_has_prefix(f->api.last_watch, SECURITY "v1beta1/authorizationpolicies?"));
}

/* Its CustomResourceDefinition was exchanged: nothing stays by the old name, nothing goes. */
static void a_kind_whose_version_changes_is_read_on_by_its_new_name(void **state)
{
	struct fixture *f = *state;

	f->api.on_request = has_one_version;
	f->api.arg = SECURITY "v1beta1/";
	f->api.pages[0] = LIST("7", POLICY("v1beta1", "3", "7"));
	f->api.pages[1] = LIST("9", POLICY("v1", "3", "7"));
	start(f, policies);
	UNTIL(f, f->heard.synced == 1 && f->api.n_watches == 1);
	assert_true(has(f, "error " SECURITY "v1beta1/namespaces/demo/authorizationpolicies/p: "));
	memset(f->heard.text, 0, sizeof(f->heard.text));
	f->api.arg = SECURITY "v1/";
	fake_end(&f->api);
	UNTIL(f, f->api.n_lists == 2 && f->api.n_watches >= 2);
	assert_true(has(f, "cleared " SECURITY "v1beta1/namespaces/demo/authorizationpolicies/p\n"
			   "delete AuthorizationPolicy demo/p invalid\n"
			   "error " SECURITY "v1/namespaces/demo/authorizationpolicies/p: "));
	assert_true(has(f, "put AuthorizationPolicy demo/p invalid\n"));
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(gone_lists_anew_and_drops_what_is_not_there),
		CASE(a_server_restored_from_an_older_state_is_believed),
		CASE(a_server_that_comes_back_with_an_older_state_is_listed_anew),
		CASE(a_server_that_is_past_what_was_seen_is_listed_anew),
		CASE(a_bookmark_that_goes_back_lists_anew),
		CASE(gone_as_an_answer_lists_anew),
		CASE(a_page_that_is_gone_begins_the_list_anew),
		CASE(half_an_hour_without_a_server),
		CASE(watches_that_are_refused_are_no_storm_of_lists),
		CASE(watches_that_end_at_once_are_no_storm),
		CASE(a_token_that_has_expired_is_waited_for),
		CASE(not_found_takes_nothing_away_unless_an_api_server_says_so),
		CASE(a_kind_is_read_in_an_older_version_where_there_is_no_newer),
		CASE(a_kind_whose_version_changes_is_read_on_by_its_new_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
