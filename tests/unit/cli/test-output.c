/* SPDX-License-Identifier: Apache-2.0 */
/* json, table, ztunnel tables - what is printed for good, odd and hostile documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "userspace/cli/cli.h"
#include "userspace/cli/json.h"
#include "userspace/cli/table.h"
#include "userspace/cli/term.h"
#include "userspace/cli/ztunnel_config.h"

static int saved_stdout;
static FILE *captured_file;
static char text[16384];

static int setup(void **state)
{
	(void)fflush(stdout);
	saved_stdout = dup(STDOUT_FILENO);
	captured_file = tmpfile();
	return !captured_file || dup2(fileno(captured_file), STDOUT_FILENO) < 0;
}

static int teardown(void **state)
{
	(void)fflush(stdout);
	(void)dup2(saved_stdout, STDOUT_FILENO);
	(void)close(saved_stdout);
	return fclose(captured_file);
}

/* printed() - what went to stdout since the test began. */
static const char *printed(void)
{
	size_t n;

	(void)fflush(stdout);
	rewind(captured_file);
	n = fread(text, 1, sizeof(text) - 1, captured_file);
	text[n] = '\0';
	return text;
}

static json_t *parse(const char *s)
{
	json_t *v = json_loads(s, JSON_DECODE_ANY, NULL);

	assert_non_null(v);
	return v;
}

static void yaml_is_block_style(void **state)
{
	_cleanup_(json_decrefp) json_t *v =
		parse("{\"a\":[{\"b\":1,\"c\":{\"d\":\"x\"}},[1,2]],\"e\":[],\"f\":{},\"g\":\"no\","
		      "\"h i\":\"10.1.2.3\",\"j\":\"a: b\\n\",\"k\":null,\"l\":true}");

	json_print_yaml(v, stdout);
	assert_string_equal(printed(),
			    "a:\n- b: 1\n  c:\n    d: x\n- - 1\n  - 2\ne: []\nf: {}\ng: \"no\"\n"
			    "\"h i\": \"10.1.2.3\"\nj: \"a: b\\n\"\nk: null\nl: true\n");
}

static void columns_are_aligned(void **state)
{
	static const char *const headers[] = {"A", "LONG", "C", NULL};
	static const char *const rows[][3] = {
		{"1234", "x", "end"}, {"5", "", ""}, {"6", NULL, "z"}};
	_cleanup_(table_freep) struct table *t = NULL;

	assert_int_equal(table_new(headers, &t), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(table_row(t, rows[i]), 0);
	table_print(t);
	assert_string_equal(printed(), "A     LONG  C\n1234  x     end\n5\n6           z\n");
}

static void tables_of_a_dump(void **state)
{
	_cleanup_(json_decrefp) json_t *dump = parse(
		"{\"workloads\":[{\"namespace\":\"demo\",\"name\":\"web\",\"workloadIps\":[\"10.0."
		"0.2\",\"fd00::2\"],"
		"\"node\":\"n1\",\"protocol\":\"HBONE\"},{\"namespace\":\"other\",\"name\":\"x\"}],"
		"\"services\":[{\"namespace\":\"demo\",\"name\":\"web\",\"hostname\":\"web.demo."
		"svc\","
		"\"vips\":[\"net/"
		"10.9.0.1\"],\"endpoints\":{\"u\":{\"status\":\"Unhealthy\"},\"v\":{}}},"
		"{\"namespace\":\"demo\",\"name\":\"range\",\"vips\":[\"/10.9.0.2\"],"
		"\"cidrVips\":[\"/192.0.2.0/24\",\"net/fd00:9::/64\"]}],"
		"\"workloadState\":{\"u\":{\"info\":{\"name\":\"web\",\"namespace\":\"demo\"},"
		"\"connections\":{"
		"\"inbound\":[{\"src\":\"1.1.1.1:5\",\"actualDst\":\"10.0.0.2:80\",\"originalDst\":"
		"\"[fd00::2]:80\","
		"\"protocol\":\"HBONE\"}],\"outbound\":[{\"src\":\"10.0.0.2:9\",\"actualDst\":\"2."
		"2.2.2:15008\","
		"\"originalDst\":\"10.9.0.1:80\"}]}}}}");
	struct zc_options o = {.namespace_ = "demo", .output = "short"};

	assert_int_equal(zc_print_workloads(dump, &o), 0);
	assert_int_equal(zc_print_services(dump, &o), 0);
	assert_int_equal(zc_print_connections(dump, &o), 0);
	assert_string_equal(
		printed(),
		"NAMESPACE  POD NAME  ADDRESS   NODE  WAYPOINT  PROTOCOL\n"
		"demo       web       10.0.0.2  n1    None      HBONE\n"
		"NAMESPACE  SERVICE NAME  SERVICE VIP                        WAYPOINT  "
		"ENDPOINTS\n"
		"demo       web           10.9.0.1                           None      1/2\n"
		"demo       range         10.9.0.2,192.0.2.0/24,fd00:9::/64  None      0/0\n"
		"WORKLOAD  DIRECTION  LOCAL        REMOTE         REMOTE TARGET    PROTOCOL\n"
		"web.demo  Outbound   web.demo:9   2.2.2.2:15008  web.demo.svc:80\n"
		"web.demo  Inbound    web.demo:80  1.1.1.1:5      web.demo:80      HBONE\n");
}

static void certificates_say_whether_they_are_valid(void **state)
{
	_cleanup_(json_decrefp) json_t *dump = parse(
		"{\"certificates\":[{\"identity\":\"spiffe://a/ns/b/sa/"
		"c\",\"state\":\"Available\",\"certChain\":["
		"{\"serialNumber\":\"7\",\"validFrom\":\"2001-01-01T00:00:00Z\","
		"\"expirationTime\":\"2999-01-01T00:00:00Z\"}],\"rootCerts\":[{\"serialNumber\":"
		"\"8\","
		"\"validFrom\":\"2001-01-01T00:00:00Z\",\"expirationTime\":\"2002-01-01T00:00:"
		"00Z\"}]},"
		"{\"identity\":\"spiffe://x\",\"state\":\"Initializing\",\"certChain\":[]}]}");
	struct zc_options o = {.output = "short"};

	assert_int_equal(zc_print_certificates(dump, &o), 0);
	assert_non_null(strstr(printed(), "Leaf  Available     true        7  "));
	assert_non_null(strstr(text, "Root  Available     false       8  "));
	assert_non_null(strstr(text, "spiffe://x            Leaf  Initializing  false\n"));
}

#define LONG_POD "catalogue-with-a-long-name-7d9f8b6c5d-x2x4z"
#define LONG_NS  "production-of-the-western-region"
#define LONG_ID  "spiffe://cluster.local/ns/" LONG_NS "/sa/catalogue"
#define CERT                                                                                       \
	"{\"serialNumber\":\"4e8d0f9a6b1c2d3e4f5a6b7c8d9e0f1a\",\"validFrom\":\"2001-01-01T00:00:" \
	"00Z\",\"expirationTime\":\"2999-01-01T00:00:00Z\"}"

/* Stdout is no terminal here. */
static void tables_fit_where_there_is_no_terminal(void **state)
{
	_cleanup_(json_decrefp) json_t *dump = parse(
		"{\"workloads\":[{\"namespace\":\"" LONG_NS "\",\"name\":\"" LONG_POD
		"\",\"workloadIps\":[\"10.0.0.2\"],\"node\":\"a-node-with-a-long-name.example."
		"com\"}],"
		"\"services\":[{\"namespace\":\"" LONG_NS "\",\"name\":\"catalogue\",\"vips\":"
		"[\"/10.9.0.1\",\"/fd00:1234:5678:9abc::1\",\"/fd00:1234:5678:9abc::2\"]}],"
		"\"policies\":[{\"namespace\":\"" LONG_NS "\",\"name\":\"" LONG_POD LONG_POD "\"}],"
		"\"certificates\":[{\"identity\":\"" LONG_ID "\",\"state\":\"Available\","
		"\"certChain\":[" CERT "],\"rootCerts\":[" CERT "]}],"
		"\"workloadState\":{\"u\":{\"info\":{\"name\":\"" LONG_POD
		"\",\"namespace\":\"" LONG_NS
		"\"},\"connections\":{\"inbound\":[{\"src\":\"[fd00:1234:5678:9abc::9]:50000\","
		"\"actualDst\":\"10.0.0.2:80\",\"originalDst\":\"10.0.0.2:80\"}]}}}}");
	struct zc_options o = {.output = "short"};

	assert_int_equal(zc_print_workloads(dump, &o), 0);
	assert_int_equal(zc_print_services(dump, &o), 0);
	assert_int_equal(zc_print_policies(dump, &o), 0);
	assert_int_equal(zc_print_certificates(dump, &o), 0);
	assert_int_equal(zc_print_connections(dump, &o), 0);
	(void)printed();
	for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") <= TERM_WIDTH);
	assert_non_null(strstr(text, "catalogue-with-a-"));
	/* of an identity what tells it from others, of an address its port */
	assert_non_null(strstr(text, "/sa/catalogue  Leaf"));
	assert_non_null(strstr(text, "..:80  "));
	assert_non_null(strstr(text, "..:50000  "));
}

static void odd_dumps_print_and_do_not_crash(void **state)
{
	static const char *const dumps[] = {
		"{}",
		"{\"workloads\":7,\"services\":\"x\",\"policies\":null,\"certificates\":{},"
		"\"workloadState\":[]}",
		"{\"workloads\":[1,null,[],{\"workloadIps\":{},\"name\":5,\"waypoint\":[]}]}",
		"{\"services\":[null,{\"vips\":[1,null],\"endpoints\":[1]}],\"policies\":[[]]}",
		"{\"certificates\":[3,{\"certChain\":[1],\"rootCerts\":\"x\"},{\"certChain\":[{"
		"\"validFrom\":\"zz\"}]}]}",
		"{\"workloadState\":{\"a\":1,\"b\":{\"connections\":{\"inbound\":[1,{\"src\":\"[:"
		"\"},{\"src\":\":\"}]}}}}",
	};
	static int (*const print[])(const json_t *, const struct zc_options *) = {
		zc_print_workloads,    zc_print_services,    zc_print_policies,
		zc_print_certificates, zc_print_connections,
	};
	struct zc_options o = {.output = "short"};

	for (size_t i = 0; i < ARRAY_SIZE(dumps); i++) {
		_cleanup_(json_decrefp) json_t *dump = parse(dumps[i]);

		for (size_t j = 0; j < ARRAY_SIZE(print); j++)
			assert_int_equal(print[j](dump, &o), 0);
	}
	assert_non_null(strstr(printed(), "NAMESPACE"));
}

static void long_text_is_broken_between_words(void **state)
{
	char words[400] = "";

	for (int i = 0; i < 40; i++)
		(void)strcat(words, i ? " word" : "word");
	term_wrap("> ", "  ", words);
	term_wrap("", "", "");
	(void)printed();
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		size_t n = strcspn(line, "\n");

		assert_true(n <= TERM_WIDTH);
		if (n)
			assert_memory_equal(line, line == text ? "> word" : "  word", 6);
		assert_true(n == 0 || line[n - 1] == 'd');
	}
}

static void a_mistyped_command_is_guessed_and_another_is_not(void **state)
{
	static const struct cli_command commands[] = {
		{.name = "connections"}, {.name = "status"}, {.name = "lab"}, {0}};

	assert_string_equal(cli_nearest(commands, "conections"), "connections");
	assert_string_equal(cli_nearest(commands, "stauts"), "status");
	assert_string_equal(cli_nearest(commands, "labs"), "lab");
	assert_null(cli_nearest(commands, "xyzzy"));
	assert_null(cli_nearest(commands, ""));
	assert_null(cli_nearest(commands, "x"));
	assert_null(cli_nearest(
		commands,
		"a-very-long-word-that-nobody-means-and-that-would-not-fit-into-the-row"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(yaml_is_block_style, setup, teardown),
		cmocka_unit_test_setup_teardown(columns_are_aligned, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_of_a_dump, setup, teardown),
		cmocka_unit_test_setup_teardown(certificates_say_whether_they_are_valid, setup,
						teardown),
		cmocka_unit_test_setup_teardown(tables_fit_where_there_is_no_terminal, setup,
						teardown),
		cmocka_unit_test_setup_teardown(long_text_is_broken_between_words, setup, teardown),
		cmocka_unit_test(a_mistyped_command_is_guessed_and_another_is_not),
		cmocka_unit_test_setup_teardown(odd_dumps_print_and_do_not_crash, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
