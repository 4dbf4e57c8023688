/* SPDX-License-Identifier: Apache-2.0 */
/* connections_conclude, connections_why - the sentence about a connection that is open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "userspace/cli/connections.h"
#include "userspace/cli/json.h"

#define YES  "{\"allowed\":true,\"reason\":\"allow policy matched\",\"policy\":\"demo/p\"}"
#define NO   "{\"allowed\":false,\"reason\":\"explicitly denied\",\"policy\":\"demo/d\"}"
#define BARE "{\"allowed\":true,\"reason\":\"no allow policies\",\"policy\":\"\"}"

static json_t *parse(const char *s)
{
	json_t *v = json_loads(s, JSON_DECODE_ANY, NULL);

	assert_non_null(v);
	return v;
}

static json_t *record(const char *direction, const char *protocol, const char *open,
		      const char *peer)
{
	_cleanup_(freep) char *text = str_format(
		"{\"node\":\"n1\",\"peerNode\":\"n2\",\"namespace\":\"demo\",\"pod\":\"a\","
		"\"peer\":\"%s\",\"peerNamespace\":\"shop\",\"direction\":\"%s\",\"protocol\":"
		"\"%s\",\"open\":%s,\"src\":\"10.0.0.1:4000\",\"originalDst\":\"10.9.0.1:80\","
		"\"target\":\"10.0.0.2:8080\",\"service\":\"shop/web.shop\",\"clientIdentity\":"
		"\"spiffe://c\"}",
		peer, direction, protocol, open);

	return parse(text);
}

static void an_open_connection_has_a_sentence(void **state)
{
	static const struct {
		const char *direction, *protocol, *open, *peer, *inbound, *by, *verdict, *policy,
			*words;
	} cases[] = {
		{"outbound", "HBONE", "true", "b", YES, "n2", "allowed", "demo/p",
		 "demo/a reaches web.shop (10.9.0.1:80) through a mutual TLS tunnel as spiffe://c, "
		 "and is let in because the ALLOW policy demo/p matches."},
		{"inbound", "HBONE", "true", "b", YES, "n1", "allowed", "demo/p",
		 "shop/b reaches demo/a (10.9.0.1:80) through a mutual TLS tunnel as "},
		{"outbound", "DIRECT", "true", "b", BARE, "n2", "allowed", "",
		 "directly inside the node, vouched for by the kernel as spiffe://c, and is let "
		 "in because no ALLOW policy applies and no DENY policy matches."},
		{"inbound", "TCP", "true", "", YES, "n1", "allowed", "demo/p",
		 "10.0.0.1:4000 reaches demo/a (10.9.0.1:80) in plaintext, without an identity"},
		{"outbound", "TCP", "true", "", NULL, "", "outside", "",
		 "in plaintext as it would without the mesh: the endpoint is not enrolled"},
		{"outbound", "HBONE", "true", "b", NO, "n2", "denied", "demo/d",
		 "because the DENY policy demo/d matches. It was let in before that, and is being "
		 "closed."},
		{"outbound", "HBONE", "false", "b", YES, "n2", "allowed", "demo/p",
		 "demo/p matches. It is not open yet."},
		{"outbound", "HBONE", "true", "b", YES, "n1", "allowed", "demo/p",
		 "Not asked: ztunnel of node n2, which decides (n1 has judged it"},
		{"inbound", "HBONE", "true", "b", "{\"unknown\":\"for this\"}", "n1", "unknown", "",
		 "what the policies say of it now is not known: for this."},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(json_decrefp) json_t *c =
			record(cases[i].direction, cases[i].protocol, cases[i].open, cases[i].peer);
		_cleanup_(json_decrefp) json_t *inbound =
			cases[i].inbound ? parse(cases[i].inbound) : NULL;
		const char *why;

		assert_int_equal(connections_conclude(c, inbound, cases[i].by), 0);
		assert_string_equal(json_text(c, "verdict", ""), cases[i].verdict);
		assert_string_equal(json_text(c, "policy", "?"), cases[i].policy);
		assert_string_equal(json_text(c, "evaluatedBy", "?"), cases[i].by);
		why = json_text(c, "why", "");
		if (!strstr(why, cases[i].words))
			fail_msg("case %zu: %s", i, why);
	}
}

/* Nobody there to ask: it says so, and nothing that might be wrong. */
static void nobody_answers(void **state)
{
	_cleanup_(json_decrefp) json_t *list = json_array();
	const json_t *c;

	(void)json_array_append_new(list, record("outbound", "HBONE", "true", "b"));
	(void)json_array_append_new(list, json_object());
	assert_int_equal(connections_why(list, NULL, 0), 0);
	c = json_array_get(list, 0);
	assert_string_equal(json_text(c, "verdict", ""), "unknown");
	assert_non_null(strstr(json_text(c, "why", ""), "no ztunnel has answered that."));
	assert_int_equal(connections_print_why(list), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_open_connection_has_a_sentence),
		cmocka_unit_test(nobody_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
