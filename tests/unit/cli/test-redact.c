/* SPDX-License-Identifier: Apache-2.0 */
/* redact_pairs - names with values in a text: what is secret goes, what is beside it stays. */
#include "userspace/cli/redact_pairs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define HIDDEN REDACT_HIDDEN

static void what_is_secret_goes_and_the_rest_stays(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		/* YAML */
		{"password: x", "password: " HIDDEN},
		{"a: b\ndb:\n  password: x y # z\n  user: u\n",
		 "a: b\ndb:\n  password: " HIDDEN "\n  user: u\n"},
		{"apiKey: |-\n  one\n\n  two\nb: c\n", "apiKey: " HIDDEN "\nb: c\n"},
		{"tokens:\n- one\n- two\nb: c\n", "tokens:" HIDDEN "\nb: c\n"},
		{"- password: x\n  user: u\n- user: v\n",
		 "- password: " HIDDEN "\n  user: u\n- user: v\n"},
		{"password: x\n---\na: b\n", "password: " HIDDEN "\n---\na: b\n"},
		{"auth: {user: u, password: \"x, y\", b: c}",
		 "auth: {user: u, password: " HIDDEN ", b: c}"},
		{"'password': 'x\n y'\nb: c", "'password': " HIDDEN "\nb: c"},
		/* JSON inside of something else */
		{"curl -d '{\"user\":\"u\",\"password\":\"x\"}' h",
		 "curl -d '{\"user\":\"u\",\"password\":" HIDDEN "}' h"},
		{"a: \"{\\\"token\\\":\\\"x\\\"}\"", "a: \"{\\\"token\\\":" HIDDEN "}\""},
		/* properties, TOML, ini */
		{"db.user=u\ndb.password=x y\nb=c", "db.user=u\ndb.password=" HIDDEN "\nb=c"},
		{"db.password = \"x\"\n", "db.password = " HIDDEN "\n"},
		{"a=b\nsecret=x\\\n  y\nb=c", "a=b\nsecret=" HIDDEN "\nb=c"},
		/* words of a shell */
		{"export PASSWORD=x && run", "export PASSWORD=" HIDDEN " && run"},
		{"export PASSWORD=\"x y\"'z'; run", "export PASSWORD=" HIDDEN "; run"},
		{"export PASSWORD=$(echo x y) B=c", "export PASSWORD=" HIDDEN " B=c"},
		{"run --token x --mode=m", "run --token " HIDDEN " --mode=m"},
		{"run --password=/x/y z", "run --password=" HIDDEN " z"},
		{"run\n  --password=x \\\n  --mode=m",
		 "run\n  --password=" HIDDEN " \\\n  --mode=m"},
		{"GET /?access_token=x&y=z", "GET /?access_token=" HIDDEN "&y=z"},
		/* shorter names */
		{"db:\n  pass: x\n  user: u\n", "db:\n  pass: " HIDDEN "\n  user: u\n"},
		{"run --pwd=x --auth=y --db-pass z m",
		 "run --pwd=" HIDDEN " --auth=" HIDDEN " --db-pass " HIDDEN " m"},
		{"export DB_PASS=x REDIS_AUTH=y; run",
		 "export DB_PASS=" HIDDEN " REDIS_AUTH=" HIDDEN "; run"},
		{"auth: x\nb: c", "auth: " HIDDEN "\nb: c"},
		{"auth:\n  user: u\n  pass: x\nb: c", "auth:\n  user: u\n  pass: " HIDDEN "\nb: c"},
		/* Redis's own */
		{"port 1\nrequirepass x\nmasterauth \"-x y\"\nsave 1\n",
		 "port 1\nrequirepass " HIDDEN "\nmasterauth " HIDDEN "\nsave 1\n"},
		{"redis-server --requirepass x --port 1",
		 "redis-server --requirepass " HIDDEN " --port 1"},
		{"requirepass: x y\nb: c", "requirepass: " HIDDEN "\nb: c"},
		/* elements of lists */
		{"args:\n- --password\n- x\n- --mode\n- m\n",
		 "args:\n- --password\n- " HIDDEN "\n- --mode\n- m\n"},
		{"  - \"--api-token\"\n  - 'x y'\n  - z\n",
		 "  - \"--api-token\"\n  - " HIDDEN "\n  - z\n"},
		{"command: [\"redis-server\", \"--requirepass\", \"x, y\", \"--port\"]",
		 "command: [\"redis-server\", \"--requirepass\", " HIDDEN ", \"--port\"]"},
		{"[redis, requirepass, x, z]", "[redis, requirepass, " HIDDEN ", z]"},
		{"[\n  \"--token\",\n  \"x\"\n]", "[\n  \"--token\",\n  " HIDDEN "\n]"},
		/* a name and a value */
		{"env:\n- name: A\n  value: a\n- name: DB_PASSWORD\n  value: x\n- name: B\n  "
		 "value: b\n",
		 "env:\n- name: A\n  value: a\n- name: DB_PASSWORD\n  value: " HIDDEN
		 "\n- name: B\n  value: b\n"},
		{"- value: |\n    x\n    y\n  of:\n    n: m\n  name: \"TOKEN\"\n- value: b\n",
		 "- value: " HIDDEN "\n  of:\n    n: m\n  name: \"TOKEN\"\n- value: b\n"},
		{"key: api-key\nvalue: x\nb: c", "key: api-key\nvalue: " HIDDEN "\nb: c"},
		{"[{name: A, value: a}, {name: PASSWD, value: x}, {\"value\": \"y\", \"name\": "
		 "\"SECRET\"}]",
		 "[{name: A, value: a}, {name: PASSWD, value: " HIDDEN "}, {\"value\": " HIDDEN
		 ", \"name\": \"SECRET\"}]"},
		/* nothing is between them */
		{"export A_TOKEN= B_SECRET=x", "export A_TOKEN= B_SECRET=" HIDDEN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(freep) char *got = redact_pairs(rows[i].text);

		if (!got || strcmp(got, rows[i].want) != 0)
			fail_msg("%s\n became %s\n not %s", rows[i].text, got ? got : "-",
				 rows[i].want);
	}
}

static void what_is_not_secret_is_left_alone(void **state)
{
	static const char *const texts[] = {
		"",
		"user: u\nname: n\n",
		"MountVolume.SetUp failed for volume \"v\": secret \"s\" not found",
		"the token of istiod is not valid",
		"--token-file=/var/run/token --mode=m",
		"--token-file /var/run/token",
		"tokenPath: /var/run/token",
		"automountServiceAccountToken: false",
		"secretName: cacerts",
		"auth: {}\nauthor: a\noauth: a\nauthority: a\npasses: 1\npassthrough: a",
		"what did pass and what has auth",
		"imagePullSecrets: []",
		"password:",
		"--password",
		"--token --mode",
		"- --token\n- --mode\n",
		"- --token\nb: c\n",
		"[--token, --mode]",
		"- name: A\n  value: a\n- name: PASSWORD\n  valueFrom: b\n- name: C\n  value: c\n",
		"- name: PASSWORD\n  from:\n    value: c\n",
		"value: a\nb:\n  name: PASSWORD\n",
		"[{name: A, value: a}, {name: PASSWORD}]",
		"value",
		"name: PASSWORD",
		("password: " HIDDEN),
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_(freep) char *got = redact_pairs(texts[i]);

		if (got)
			fail_msg("%s\n became %s", texts[i], got);
	}
}

/* Twice is once. */
static void hidden_stays_hidden(void **state)
{
	_cleanup_(freep) char *once = redact_pairs("a: b\npassword: |\n  x\nTOKEN=x; --secret y");
	_cleanup_(freep) char *twice = redact_pairs(once);

	assert_null(strchr(once, 'x'));
	assert_null(strchr(once, 'y'));
	assert_true(!twice || strcmp(once, twice) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_secret_goes_and_the_rest_stays),
		cmocka_unit_test(what_is_not_secret_is_left_alone),
		cmocka_unit_test(hidden_stays_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
