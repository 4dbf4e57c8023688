/* SPDX-License-Identifier: Apache-2.0 */
/* kube - some kinds of an API server are not heard of while others are: half of a change is no
 * consistent state, and what lasts is said. */
#include "tests/unit/fast-clock.h"
#include "tests/unit/source/kube-fixture.h"

static const char *const pair[] = {"Namespace", "Service", NULL};
static const char *const asides[] = {"Namespace", "Telemetry", NULL};

#define SERVICE(name, version)                                                                     \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"d\",\"resourceVersion\":\"" version  \
	"\"}}"
#define BOOKMARK(version) EVENT("BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"" version "\"}}")
#define SECOND_US         1000000ULL

/** struct served - a kind at the fake server. */
struct served {
	const char *list;
	bool is_refused;   /* its lists and watches */
	bool is_unwatched; /* its watches */
	bool is_hung;      /* no answer, while connections live */
	int fd;            /* of its newest watch */
	size_t n_lists, n_watches;
};

/** struct two - Namespaces and another kind. */
struct two {
	struct served namespaces, others;
};

static bool on_request(struct fake_api *a, int fd, const char *method, const char *path,
		       const char *body)
{
	struct two *t = a->arg;
	struct served *s = strstr(path, "/namespaces?") ? &t->namespaces : &t->others;
	bool is_watch = strstr(path, "watch=1");

	s->n_watches += is_watch;
	s->n_lists += !is_watch;
	if (s->is_hung)
		return true;
	if (s->is_refused || (is_watch && s->is_unwatched)) {
		fake_answer(fd, 403, "{}");
	} else if (is_watch) {
		s->fd = fd;
		fake_write(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	} else {
		fake_answer(fd, 200, s->list);
	}
	return true;
}

static void push(struct fixture *f, const struct served *s, const char *event)
{
	f->api.watch_fd = s->fd;
	fake_push(&f->api, event);
}

static void cut(const struct served *s)
{
	(void)shutdown(s->fd, SHUT_RDWR);
}

/* Time goes by, at least so much. */
static void wait_for(struct fixture *f, uint64_t us)
{
	uint64_t until_us = now_monotonic_us() + us;

	the_clock.is_fast = true;
	while (now_monotonic_us() < until_us)
		assert_true(loop_run_once(f->loop,
					  (int)((until_us - now_monotonic_us()) / 1000) + 1) >= 0);
	the_clock.is_fast = false;
}

static void begin(struct fixture *f, struct two *t, const char *const *kinds)
{
	t->namespaces.list = LIST("7", NS("d", "7"));
	t->others.list = LIST("7", SERVICE("s", "7"));
	f->api.on_request = on_request;
	f->api.arg = t;
	start(f, kinds);
	UNTIL(f, f->heard.synced == 1 && t->namespaces.n_watches == 1 && t->others.n_watches == 1);
	wait_for(f, SECOND_US);
	memset(&f->heard, 0, sizeof(f->heard));
}

static void others_wait_for_a_kind_that_is_cut(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, pair);
	t.namespaces.is_refused = true;
	cut(&t.namespaces);
	UNTIL(f, has(f, "error /api/v1/namespaces"));
	push(f, &t.others, EVENT("ADDED", SERVICE("new", "8")));
	UNTIL(f, has(f, "put Service d/new"));
	wait_for(f, 4 * SECOND_US);
	assert_int_equal(f->heard.synced, 0);
	t.namespaces.is_refused = false;
	t.namespaces.list = LIST("9", NS_LABEL("d", "9", "l"));
	UNTIL(f, f->heard.synced > 0);
	assert_true(has(f, "put Namespace /d"));
	assert_false(has(f, "stale"));
}

static void a_kind_that_is_cut_for_long_is_said_once(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, pair);
	t.namespaces.is_refused = true;
	cut(&t.namespaces);
	push(f, &t.others, EVENT("ADDED", SERVICE("new", "8")));
	UNTIL(f, has(f, "put Service d/new"));
	wait_for(f, 9 * SECOND_US);
	assert_false(has(f, "stale"));
	assert_int_equal(f->heard.synced, 0);
	wait_for(f, 2 * SECOND_US);
	assert_true(has(f, "stale Namespace (refused), synced 0\n"));
	assert_int_equal(f->heard.synced, 1);
	/* what comes now is not held */
	t.others.list =
		LIST("9", SERVICE("s", "7") "," SERVICE("new", "8") "," SERVICE("newer", "9"));
	push(f, &t.others, EVENT("ADDED", SERVICE("newer", "9")));
	UNTIL(f, f->heard.synced == 2);
	wait_for(f, 1800 * SECOND_US);
	assert_int_equal(count_of(f->heard.text, "stale"), 1);
	assert_false(has(f, "delete"));
	t.namespaces.is_refused = false;
	memset(&f->heard, 0, sizeof(f->heard));
	wait_for(f, 15 * SECOND_US);
	/* by then all of it was told */
	assert_true(has(f, "stale no longer") && !has(f, "synced 0"));
	assert_int_equal(count_of(f->heard.text, "stale"), 1);
}

/* A list says what was there, not what is. */
static void a_kind_that_can_only_be_listed_is_cut(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, pair);
	t.namespaces.is_unwatched = true;
	cut(&t.namespaces);
	wait_for(f, 60 * SECOND_US);
	assert_true(t.namespaces.n_lists == 2 && t.namespaces.n_watches > 3);
	assert_true(has(f, "stale Namespace"));
	assert_int_equal(count_of(f->heard.text, "stale"), 1);
}

/* What is refused to us is to others of our account: not so what is cut off. */
static void it_is_refused_only_where_nothing_else_is_wrong(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, pair);
	t.namespaces.is_refused = t.others.is_hung = true;
	cut(&t.namespaces);
	cut(&t.others);
	wait_for(f, 12 * SECOND_US);
	assert_true(has(f, "stale Namespace, synced 0\n") || has(f, "stale Service, synced 0\n"));
	t.others.is_hung = false;
	for (size_t i = 0; i < f->api.n_conns; i++)
		if (f->api.conns[i].w.loop)
			(void)shutdown(f->api.conns[i].w.fd, SHUT_RDWR);
	wait_for(f, 60 * SECOND_US);
	assert_true(has(f, "stale Namespace (refused)"));
	assert_int_equal(count_of(f->heard.text, "stale"), 2);
	t.namespaces.is_refused = false;
	wait_for(f, 15 * SECOND_US);
	assert_int_equal(count_of(f->heard.text, "stale"), 3);
	assert_true(has(f, "stale no longer"));
}

static void nobody_waits_for_what_nothing_depends_on(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, asides);
	t.others.is_refused = true;
	cut(&t.others);
	UNTIL(f, has(f, "error /apis/telemetry"));
	memset(&f->heard, 0, sizeof(f->heard));
	push(f, &t.namespaces, EVENT("ADDED", NS("new", "8")));
	UNTIL(f, f->heard.synced == 1);
	wait_for(f, 60 * SECOND_US);
	assert_false(has(f, "stale"));
}

static void a_watch_whose_time_is_over_keeps_nobody_waiting(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, pair);
	wait_for(f, 6 * SECOND_US);
	f->api.watch_fd = t.namespaces.fd;
	fake_end(&f->api);
	UNTIL(f, t.namespaces.n_watches == 2);
	push(f, &t.others, EVENT("ADDED", SERVICE("new", "8")));
	UNTIL(f, has(f, "put Service d/new"));
	wait_for(f, SECOND_US / 10);
	assert_true(f->heard.synced > 0);
	assert_int_equal(t.namespaces.n_lists, 1);
}

static void bookmarks_keep_a_watch_open(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, pair);
	for (int i = 0; i < 4; i++) {
		push(f, &t.namespaces, BOOKMARK("8"));
		push(f, &t.others, BOOKMARK("8"));
		wait_for(f, 70 * SECOND_US);
	}
	assert_int_equal(t.namespaces.n_lists, 1);
	assert_int_equal(t.others.n_lists, 1);
}

/* Its connections live, as those of a host that is there. */
static void a_server_that_hangs_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct two t = {0};

	begin(f, &t, pair);
	t.namespaces.is_hung = t.others.is_hung = true;
	wait_for(f, 85 * SECOND_US);
	assert_int_equal(t.namespaces.n_lists + t.others.n_lists, 2);
	assert_false(has(f, "stale"));
	wait_for(f, 20 * SECOND_US);
	assert_true(t.namespaces.n_lists + t.others.n_lists > 2);
	assert_int_equal(count_of(f->heard.text, "stale"), 1);
	t.namespaces.is_hung = t.others.is_hung = false;
	for (size_t i = 0; i < f->api.n_conns; i++) /* it is started again */
		if (f->api.conns[i].w.loop)
			(void)shutdown(f->api.conns[i].w.fd, SHUT_RDWR);
	wait_for(f, 15 * SECOND_US);
	assert_true(has(f, "stale no longer"));
	assert_false(has(f, "delete"));
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(others_wait_for_a_kind_that_is_cut),
		CASE(a_kind_that_is_cut_for_long_is_said_once),
		CASE(a_kind_that_can_only_be_listed_is_cut),
		CASE(it_is_refused_only_where_nothing_else_is_wrong),
		CASE(nobody_waits_for_what_nothing_depends_on),
		CASE(a_watch_whose_time_is_over_keeps_nobody_waiting),
		CASE(bookmarks_keep_a_watch_open),
		CASE(a_server_that_hangs_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
