/* SPDX-License-Identifier: Apache-2.0 */
/* bpf words, connections, explain, term, table_fit - what is said for good, odd and hostile
 * answers. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "userspace/cli/bpf_words.h"
#include "userspace/cli/cli.h"
#include "userspace/cli/connections.h"
#include "userspace/cli/drops.h"
#include "userspace/cli/explain.h"
#include "userspace/cli/json.h"
#include "userspace/cli/match.h"
#include "userspace/cli/past.h"
#include "userspace/cli/table.h"
#include "userspace/cli/term.h"

static json_t *parse(const char *s)
{
	json_t *v = json_loads(s, JSON_DECODE_ANY, NULL);

	assert_non_null(v);
	return v;
}

/* Every map of bpf/maps.h: "} cv_name __weak SEC". */
static void every_map_has_a_meaning(void **state)
{
	_cleanup_(freep) char *text = NULL;
	unsigned int n = 0;
	char *at;

	assert_int_equal(file_read("bpf/maps.h", 1 << 20, &text, NULL), 0);
	for (at = text; (at = strstr(at, "\n} cv_")); n++) {
		char *name = at + 3;

		at = strchr(name, ' ');
		*at++ = '\0';
		if (!*bpf_map_word(name))
			fail_msg("userspace/cli/bpf_words.c does not say what the map %s is for",
				 name);
	}
	assert_true(n > 10);
	assert_string_equal(bpf_map_word("cv_nameserver_a"), bpf_map_word("cv_nameserver_addrs"));
	assert_string_equal(bpf_map_word("x"), "");
}

/* Every program: "int cv_name(" at the beginning of a line. */
static void every_program_has_a_meaning(void **state)
{
	_cleanup_(closedirp) DIR *dir = opendir("bpf");
	const struct dirent *e;
	unsigned int n = 0;

	assert_non_null(dir);
	while ((e = readdir(dir))) {
		_cleanup_(freep) char *path = str_format("bpf/%s", e->d_name);
		_cleanup_(freep) char *text = NULL;
		char *at;

		if (!str_has_suffix(e->d_name, ".bpf.c"))
			continue;
		assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
		for (at = text; (at = strstr(at, "\nint cv_")); n++) {
			char *name = at + 5;

			at = strchr(name, '(');
			*at++ = '\0';
			if (!*bpf_prog_word(name))
				fail_msg("userspace/cli/bpf_words.c does not say what %s does",
					 name);
		}
	}
	assert_true(n > 10);
}

static void numbers_for_people(void **state)
{
	char buf[TERM_NUMBER];

	assert_string_equal(term_bytes(0, buf), "0");
	assert_string_equal(term_bytes(1023, buf), "1023");
	assert_string_equal(term_bytes(1536, buf), "1.5K");
	assert_string_equal(term_bytes(5e9, buf), "4.7G");
	assert_string_equal(term_bytes(1e30, buf) + strlen(buf) - 1, "E");
	assert_string_equal(term_age(-1, buf), "0.0s");
	assert_string_equal(term_age(59.9, buf), "59s");
	assert_string_equal(term_age(192, buf), "3m12s");
	assert_string_equal(term_age(90000, buf), "1d");
}

#define CONNECTIONS(now, sent, back)                                                               \
	"{\"node\":\"n1\",\"nowUs\":" now                                                          \
	",\"workloadState\":{\"u\":{\"info\":{\"name\":\"a\",\"namespace\":\"demo\"},"             \
	"\"connections\":{\"inbound\":[],\"outbound\":[{\"src\":\"10.0.0.1:1\",\"originalDst\":"   \
	"\"10.9.0.1:80\",\"actualDst\":\"10.0.0.2:15008\",\"protocol\":\"HBONE\",\"open\":true,"   \
	"\"peerName\":\"b\",\"peerNamespace\":\"demo\",\"service\":\"demo/b.demo.svc\","           \
	"\"peerIdentity\":\"spiffe://x\",\"openedUs\":1000000,\"bytesToServer\":" sent             \
	",\"bytesToClient\":" back "}]}}}}"

static void rates_are_what_moved_between_two_looks(void **state)
{
	_cleanup_(json_decrefp) json_t *first = parse(CONNECTIONS("2000000", "1000", "0"));
	_cleanup_(json_decrefp) json_t *second = parse(CONNECTIONS("4000000", "5000", "200"));
	_cleanup_(json_decrefp) json_t *before = json_object(), *now = json_object();
	_cleanup_(json_decrefp) json_t *a = json_array(), *b = json_array(), *group = NULL;
	const struct connections_filter all = {0}, others = {.service = "c"},
					mine = {.pod = "demo/a", .service = "b"};

	assert_int_equal(connections_read(first, &all, NULL, before, a), 0);
	assert_int_equal(connections_read(second, &others, before, now, b), 0);
	assert_int_equal(json_array_size(b), 0);
	assert_int_equal(connections_read(second, &mine, before, now, b), 0);
	assert_int_equal(json_array_size(b), 1);
	assert_float_equal(
		json_number_value(json_object_get(json_array_get(a, 0), "sentPerSecond")), 1000,
		0.1);
	assert_float_equal(
		json_number_value(json_object_get(json_array_get(b, 0), "sentPerSecond")), 2000,
		0.1);
	assert_float_equal(
		json_number_value(json_object_get(json_array_get(b, 0), "receivedPerSecond")), 100,
		0.1);
	group = connections_group(b, "service");
	assert_string_equal(json_text(json_array_get(group, 0), "service", ""), "demo/b.demo.svc");
	assert_int_equal(json_number(json_array_get(group, 0), "bytesSent"), 5000);
}

#define ENDED(us, more)                                                                            \
	"{\"endedUs\":" us                                                                         \
	",\"verdict\":\"denied\",\"path\":\"plaintext\",\"src\":\"10.0.0.1:1\","                   \
	"\"asked\":\"10.9.0.1:80\",\"dst\":\"[fd00::2]:8080\",\"srcName\":\"a\",\"srcNamespace\":" \
	"\"x\","                                                                                   \
	"\"dstName\":\"b\",\"dstNamespace\":\"x\",\"service\":\"x/web.x.svc.cluster.local\"" more  \
	"}"

static void a_pod_is_found_by_what_has_made_it_too(void **state)
{
	static const struct {
		const char *wanted, *name;
		bool is_it;
	} cases[] = {
		{"web", "web", true},
		{"web", "web-7d9f8b6c5d-x2x4z", true}, /* Deployment */
		{"web-7d9f8b6c5d", "web-7d9f8b6c5d-x2x4z", true},
		{"shop/web", "web-7d9f8b6c5d-x2x4z", true},
		{"web.shop", "web-7d9f8b6c5d-x2x4z", true},
		{"web", "web-x2x4z", true}, /* DaemonSet, Job */
		{"web", "web-0", true},     /* StatefulSet */
		{"web", "web-12", true},
		{"shop/web-0", "web-0", true},
		{"web", "web-api", false},
		{"web", "web-api-7d9f8b6c5d-x2x4z", false},
		{"web", "webs", false},
		{"we", "web", false},
		{"web", "web-", false},
		{"web", "web-x2x4z-x2x4z-x2x4z", false},
		{"other/web", "web-0", false},
		{"web.other", "web-0", false},
		{"shop/", "web-0", false},
		{".shop", "-0", false},
		{"", "-0", false},
		{"shop/web.shop", "web-0", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (match_pod(cases[i].wanted, "shop", cases[i].name) != cases[i].is_it)
			fail_msg("%s, %s", cases[i].wanted, cases[i].name);
}

static void the_past_is_found_by_every_name(void **state)
{
	static const struct {
		const char *from, *to;
		bool is_found;
	} cases[] = {
		{"a", "b", true},
		{"x/a", "x/b:8080", true},
		{"a.x", "web:80", true},
		{"10.0.0.1", "10.9.0.1:80", true},
		{"a", "fd00::2", true},
		{"a", "[fd00::2]:8080", true},
		{"a", "web.x", true},
		{"a", "x/web.x.svc.cluster.local:80", true},
		{"b", "a", false},
		{"a", "web:81", false},
		{"a", "we", false},
		{"10.0.0.2", "b", false},
		{"a", "10.9.0.1:8080", false},
	};
	json_t *answer = parse("{\"node\":\"n\",\"ended\":[" ENDED("2000000", "") "]}");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *records = json_array(), *nodes = json_array();
		struct past_end from, to;

		assert_int_equal(past_end_parse(cases[i].from, false, &from), 0);
		assert_int_equal(past_end_parse(cases[i].to, true, &to), 0);
		assert_int_equal(past_read(answer, &from, &to, records, nodes), 0);
		if ((json_array_size(records) == 1) != cases[i].is_found)
			fail_msg("%s -> %s", cases[i].from, cases[i].to);
		json_decref(records);
		json_decref(nodes);
	}
	json_decref(answer);
}

static void the_past_is_told_in_one_sentence_newest_last(void **state)
{
	json_t *records = json_array(), *nodes = json_array();
	json_t *answer = parse("{\"node\":\"n\",\"completeSinceUs\":-5,\"ended\":[1,{}," ENDED(
		"3000000", ",\"error\":\"no: x/p\",\"policy\":\"x/p\"") "," ENDED("2500000",
										  "") "]}");
	const struct past_end any = {.port = 0};
	const json_t *newest;

	assert_int_equal(past_read(answer, &any, &any, records, nodes), 0);
	assert_int_equal(json_array_size(records), 3);
	assert_int_equal(past_sort(records, 2), 0);
	assert_int_equal(json_array_size(records), 2);
	newest = json_array_get(records, 1);
	assert_string_equal(json_text(newest, "ended", ""), "1970-01-01T00:00:03.000Z");
	assert_string_equal(json_text(newest, "sentence", ""),
			    "From x/a (10.0.0.1:1) to x/b ([fd00::2]:8080) for "
			    "web.x.svc.cluster.local, it was denied, in plaintext, without an "
			    "identity: no: x/p.");
	past_print(records, nodes);
	json_decref(records);
	json_decref(nodes);
	json_decref(answer);
}

#define RECALL(verdict, path, place, count, one_in)                                                \
	"{\"by\":\"kernel\",\"endedUs\":2600000,\"firstUs\":1000000,\"count\":" count              \
	",\"toldOneIn\":" one_in ",\"place\":\"" place "\",\"path\":\"" path                       \
	"\",\"verdict\":\"" verdict                                                                \
	"\",\"error\":\"because\",\"src\":\"10.0.0.1:0\",\"asked\":\"10.0.0.2:80\",\"dst\":"       \
	"\"10.0.0.2:80\",\"srcNamespace\":\"x\",\"srcName\":\"a\",\"dstNamespace\":\"\","          \
	"\"dstName\":\"\",\"pid\":7,\"process\":\"curl\"}"

static void what_the_kernel_did_is_told_in_one_sentence(void **state)
{
	static const struct {
		const char *record, *sentence;
	} cases[] = {
		{RECALL("refused", "none", "connect", "1", "1"),
		 "From x/a (10.0.0.1:0) to 10.0.0.2:80, it was refused by the kernel before a "
		 "packet was sent: because."},
		{RECALL("dropped", "none", "link", "3", "1"),
		 "From x/a (10.0.0.1:0) to 10.0.0.2:80, it had a packet dropped by the kernel as "
		 "it left the pod: because, 3 times since 1970-01-01T00:00:01.000Z."},
		{RECALL("dropped", "none", "handshake", "1", "1"),
		 "From x/a (10.0.0.1:0) to 10.0.0.2:80, it was not vouched for by the kernel as it "
		 "was set up: because."},
		{RECALL("refused", "none", "arrival", "1", "1"),
		 "From x/a (10.0.0.1:0) to 10.0.0.2:80, it was turned away by the kernel as it "
		 "came into the pod: because."},
		{RECALL("dropped", "none", "uplink", "2", "64"),
		 "From x/a (10.0.0.1:0) to 10.0.0.2:80, it was dropped by the kernel as it came "
		 "into the node: because, 65 times or more since 1970-01-01T00:00:01.000Z, of "
		 "which one in 64 is told."},
		{RECALL("passed", "excluded", "connect", "2", "1"),
		 "From x/a (10.0.0.1:0) to 10.0.0.2:80, it was let past the mesh by the kernel, "
		 "whatever became of it then: because, 2 times since 1970-01-01T00:00:01.000Z."},
		{RECALL("passed", "self", "connect", "1", "1"),
		 "From x/a (10.0.0.1:0) to 10.0.0.2:80, it stayed inside the pod: because."},
		{"{}", "From ? to ?, it was stopped by the kernel in a place that is not known "
		       "here: ."},
	};
	const struct past_end any = {.port = 0};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) char *text = str_format(
			"{\"node\":\"n\",\"refused\":{\"records\":[%s]}}", cases[i].record);
		json_t *records = json_array(), *nodes = json_array(), *answer = parse(text);

		assert_int_equal(past_read_kernel(answer, &any, &any, records, nodes), 0);
		assert_string_equal(json_text(json_array_get(records, 0), "sentence", ""),
				    cases[i].sentence);
		json_decref(answer);
		json_decref(records);
		json_decref(nodes);
	}
}

static void both_memories_are_told_in_one_order(void **state)
{
	_cleanup_(json_decrefp) json_t *records = json_array(), *nodes = json_array();
	_cleanup_(json_decrefp) json_t *ended =
		parse("{\"node\":\"n\",\"completeSinceUs\":1000000,\"ended\":[" ENDED(
			"2500000", "") "," ENDED("2700000", "") "]}");
	_cleanup_(json_decrefp) json_t *kernel = parse(
		"{\"node\":\"n\",\"lost\":4,\"refused\":{\"completeSinceUs\":2000000,\"records\":"
		"[" RECALL("refused", "none", "connect", "1",
			   "1") "]},\"passed\":{\"completeSinceUs\":3000000,\"records\":[]}}");
	_cleanup_(json_decrefp) json_t *alone = parse("{\"node\":\"m\"}");
	const struct past_end any = {.port = 0};
	const json_t *node;

	assert_int_equal(past_read(ended, &any, &any, records, nodes), 0);
	assert_int_equal(past_read_kernel(kernel, &any, &any, records, nodes), 0);
	assert_int_equal(past_read_kernel(alone, &any, &any, records, nodes), 0);
	assert_int_equal(past_sort(records, 0), 0);
	assert_int_equal(json_array_size(records), 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(json_text(json_array_get(records, i), "by", ""),
				    i == 1 ? "kernel" : "ztunnel");
	assert_int_equal(json_array_size(nodes), 2);
	node = json_array_get(nodes, 0);
	assert_int_equal(json_number(node, "remembered"), 2);
	node = json_object_get(node, "kernel");
	assert_string_equal(json_text(node, "refusedSince", ""), "1970-01-01T00:00:02.000Z");
	assert_string_equal(json_text(node, "passedSince", ""), "1970-01-01T00:00:03.000Z");
	assert_int_equal(json_number(node, "refused"), 1);
	assert_int_equal(json_number(node, "lost"), 4);
	/* a ztunnel that did not answer */
	assert_true(json_is_null(json_object_get(json_array_get(nodes, 1), "completeSince")));
	past_print(records, nodes);
}

static void what_is_no_end_is_refused(void **state)
{
	static const char *const bad[] = {"", "a:b", "a:0", "a:65536", "a:", "[fd00::1]:x"};
	struct past_end e = {.port = 7};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(past_end_parse(bad[i], true, &e), -22);
	assert_int_equal(e.port, 7);
}

static void connections_are_sorted(void **state)
{
	static const struct {
		const char *key, *first;
	} cases[] = {{"rate", "fast"}, {"bytes", "big"}, {"age", "old"}, {"pod", "big"}};
	_cleanup_(json_decrefp) json_t *list =
		parse("[{\"pod\":\"old\",\"ageSeconds\":99.0},{\"pod\":\"fast\",\"sentPerSecond\":"
		      "9.5},{\"pod\":\"big\",\"bytesReceived\":77}]");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(connections_sort(list, cases[i].key), 0);
		assert_string_equal(json_text(json_array_get(list, 0), "pod", ""), cases[i].first);
	}
	assert_int_equal(connections_sort(list, "colour"), -22);
}

#define POD(ns, name)                                                                              \
	"\"name\":\"" name "\",\"namespace\":\"" ns "\",\"uid\":\"c//Pod/" ns "/" name "\""
#define ROUTE(kind, inbound)                                                                       \
	"{\"kind\":\"" kind "\",\"share\":1.0,\"workload\":{" POD(                                 \
		"demo", "b") "},\"identities\":[],"                                                \
			     "\"error\":\"no healthy upstream\",\"inbound\":" inbound "}"
#define ELSEWHERE                                                                                  \
	"{\"kind\":\"plain\",\"workload\":{\"name\":\"b\",\"uid\":\"c/networking.istio.io/"        \
	"ServiceEntry/d/b\"}}"
#define CHANGE "\"change\":[\"the policy\"]"
#define YES                                                                                        \
	"{\"allowed\":true,\"reason\":\"allow policy matched\",\"policy\":\"demo/p\"," CHANGE "}"
#define NO "{\"allowed\":false,\"reason\":\"explicitly denied\",\"policy\":\"demo/d\"," CHANGE "}"

/* @expected: part of one of them; NULL: there are none. */
static void assert_changes(size_t i, const json_t *answer, const char *expected)
{
	const json_t *list = json_object_get(answer, "change"), *one;
	bool is_found = !expected;
	size_t j;

	json_array_foreach (list, j, one)
		is_found |= expected && strstr(json_string_value(one), expected);
	if (!is_found || (!expected && json_array_size(list) > 0))
		fail_msg("case %zu: %zu, not %s", i, json_array_size(list), expected);
}

#define STRICT                                                                                     \
	"{\"allowed\":false,\"reason\":\"explicitly denied\",\"policy\":\"istio-system/"           \
	"istio_converted_static_strict\"," CHANGE "}"

static void explain_has_a_sentence_for_each_outcome(void **state)
{
	static const struct {
		const char *kernel, *certificate, *routes, *verdict, *words, *change;
	} cases[] = {
		{"tunnel", "{}", ROUTE("tunnel", YES), "allowed", "ALLOW policy demo/p matches",
		 "the policy"},
		{"tunnel", "{}", ROUTE("tunnel", NO), "denied", "DENY policy demo/d matches",
		 "the policy"},
		{"", "null", ROUTE("plain", STRICT), "denied",
		 "because PeerAuthentication asks for mutual TLS: ", "the policy"},
		{"tunnel", "null", ROUTE("tunnel", YES), "refused", "has no certificate",
		 "a certificate for the source"},
		{"tunnel", "{}", ROUTE("refuse", "null"), "refused", "no healthy upstream",
		 "an endpoint of the service"},
		{"tunnel", "{}", ROUTE("plain", "null"), "outside", "not enrolled",
		 "dataplane-mode=ambient on pod demo/b"},
		{"", "null", "{\"kind\":\"plain\",\"inbound\":null,\"isExcluded\":true}", "outside",
		 "an annotation of the endpoint's pod leaves it to the application",
		 "the annotation of the endpoint's pod"},
		{"tunnel", "{}", ELSEWHERE, "outside", "not enrolled",
		 "a WorkloadEntry with a tunnel"},
		{"", "null", ROUTE("plain", NO), "denied", "without an identity", "the policy"},
		{"passthrough", "{}", ROUTE("tunnel", YES), "outside", "not a mesh destination",
		 "on pod demo/b or its namespace"},
		{"passthrough", "{}", ROUTE("refuse", "null"), "outside", "",
		 "at a port of its that is 80"},
		{"passthrough", "{}", "", "outside", "", "a ServiceEntry"},
		{"self", "{}", ROUTE("self", "null"), "outside", "dials itself", "nothing: "},
		{"dns", "{}", ROUTE("passthrough", "null"), "outside", "resolver", "dns-capture"},
		{"uncaptured", "{}", ROUTE("tunnel", YES), "unknown", "not captured", "waits for"},
		{"ztunnel_dead", "{}", ROUTE("tunnel", YES), "refused", "no ztunnel serves",
		 "a ztunnel that serves"},
		{"direct", "null", ROUTE("tunnel", YES), "allowed", "vouched for by the kernel",
		 "the policy"},
		{"policy", "{}", ROUTE("tunnel", NO), "denied", "DENY policy demo/d matches",
		 "the policy"},
		{"policy", "{}", ROUTE("tunnel", YES), "denied", "last asked", "the policy"},
		{"gone", "{}", ROUTE("passthrough", "null"), "refused", "was a destination",
		 "ten seconds"},
		{"registry_only", "{}", ROUTE("passthrough", "null"), "refused", "ServiceEntry",
		 "ALLOW_ANY"},
		{"excluded", "{}", ROUTE("plain", YES), "allowed", "excludes it, and is let in",
		 "the annotation"},
		{"excluded", "{}", ROUTE("plain", NO), "denied", "excludes it, and is denied there",
		 "the policy"},
		{"excluded", "{}", ROUTE("plain", "null"), "outside", "annotation",
		 "the annotation"},
		{"tunnel", "{}", ROUTE("tunnel", YES) "," ROUTE("tunnel", NO), "depends",
		 "1 let it in, 1 deny it", "the policy"},
		{"tunnel", "{}", "", "unknown", "nothing is known", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) char *text = str_format(
			"{\"hasAskedSource\":true,\"from\":{\"name\":\"a\",\"namespace\":\"demo\","
			"\"identity\":\"spiffe://a\"},\"to\":{\"address\":\"10.0.0.2:80\"},"
			"\"kernel\":{\"path\":\"%s\"},\"certificate\":%s,\"routes\":[%s]}",
			cases[i].kernel, cases[i].certificate, cases[i].routes);
		_cleanup_(json_decrefp) json_t *answer = parse(text);
		const char *said;

		assert_int_equal(explain_conclude(answer), 0);
		assert_string_equal(json_text(answer, "verdict", ""), cases[i].verdict);
		said = json_text(answer, "sentence", "");
		if (!strstr(said, cases[i].words))
			fail_msg("case %zu: %s", i, said);
		assert_ptr_equal(strchr(said, '\n'), NULL);
		assert_changes(i, answer, cases[i].change);
	}
}

/* Who is not in the mesh is refused by nobody of it. */
static void explain_leaves_an_outsider_to_the_network(void **state)
{
	_cleanup_(json_decrefp) json_t *answer = parse("{\"hasAskedSource\":true,\"from\":{" POD(
		"x", "a") ",\"isEnrolled\":false},\"to\":{\"address\":\"10.0.0.2:80\",\"service\":"
			  "\"demo/b.demo\"},\"routes\":[" ROUTE("refuse", "null") "]}");

	assert_int_equal(explain_conclude(answer), 0);
	assert_string_equal(json_text(answer, "verdict", ""), "outside");
	assert_non_null(strstr(json_text(answer, "sentence", ""),
			       "x/a is not in the mesh, so the network alone decides what becomes "
			       "of it at b.demo (10.0.0.2:80): no endpoint there is known"));
	assert_changes(0, answer, "label istio.io/dataplane-mode=ambient on pod x/a");
}

static void odd_answers_do_not_crash(void **state)
{
	static const char *const answers[] = {
		"{}", "{\"routes\":[1,null,{}],\"kernel\":[],\"from\":7,\"to\":\"x\"}",
		"{\"routes\":[{\"inbound\":{\"policies\":[1,{}],\"change\":[2]},\"identities\":{},"
		"\"kind\":\"tunnel\"}],\"certificate\":[]}",
		"{\"workloadState\":{\"a\":1,\"b\":{\"connections\":{\"inbound\":[1,{}],"
		"\"outbound\":{}}}}}"};
	const struct connections_filter all = {0};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		_cleanup_(json_decrefp) json_t *a = parse(answers[i]);
		_cleanup_(json_decrefp) json_t *now = json_object(), *list = json_array();

		assert_int_equal(explain_conclude(a), 0);
		assert_int_equal(explain_print(a), 0);
		assert_int_equal(connections_read(a, &all, NULL, now, list), 0);
		assert_int_equal(connections_print(list, "connection"), 0);
		drops_add_kernel(list, "n", a, true);
		assert_int_equal(drops_print(list), 0);
	}
}

static void wide_tables_are_cut(void **state)
{
	static const char *const headers[] = {"A", "B", NULL};
	static const char *const row[] = {"0123456789012345678901234567890123456789", "short"};
	_cleanup_(table_freep) struct table *t = NULL;

	assert_int_equal(table_new(headers, &t), 0);
	assert_int_equal(table_row(t, row), 0);
	table_fit(t, 20);
	table_print(t);
	table_fit(t, 1); /* as far as it goes */
}

struct options {
	const char *output;
	bool is_watch;
};

static void options_may_follow_arguments(void **state)
{
	static const struct option_def defs[] = {{.name = "output",
						  .short_name = 'o',
						  .type = OPTION_STRING,
						  .offset = offsetof(struct options, output)},
						 {.name = "watch",
						  .short_name = 'w',
						  .type = OPTION_BOOL,
						  .offset = offsetof(struct options, is_watch)},
						 {0}};
	const struct cli_syntax syntax = {.defs = defs, .usage = "", .help = "", .max_rest = 2};
	char *argv[] = {"x", "a", "-w", "b", "-o", "json", NULL};
	struct options o;

	assert_int_equal(cli_parse(&syntax, &o, 6, argv), 4);
	assert_string_equal(argv[4], "a");
	assert_string_equal(argv[5], "b");
	assert_string_equal(o.output, "json");
	assert_true(o.is_watch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_map_has_a_meaning),
		cmocka_unit_test(every_program_has_a_meaning),
		cmocka_unit_test(numbers_for_people),
		cmocka_unit_test(rates_are_what_moved_between_two_looks),
		cmocka_unit_test(connections_are_sorted),
		cmocka_unit_test(a_pod_is_found_by_what_has_made_it_too),
		cmocka_unit_test(the_past_is_found_by_every_name),
		cmocka_unit_test(the_past_is_told_in_one_sentence_newest_last),
		cmocka_unit_test(what_the_kernel_did_is_told_in_one_sentence),
		cmocka_unit_test(both_memories_are_told_in_one_order),
		cmocka_unit_test(what_is_no_end_is_refused),
		cmocka_unit_test(explain_has_a_sentence_for_each_outcome),
		cmocka_unit_test(explain_leaves_an_outsider_to_the_network),
		cmocka_unit_test(odd_answers_do_not_crash),
		cmocka_unit_test(wide_tables_are_cut),
		cmocka_unit_test(options_may_follow_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
