/* SPDX-License-Identifier: Apache-2.0 */
/* log - one line per event whatever is in it; errno survives. */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/log_filter.h"
#include "base/macros.h"

static int saved_stderr, pipe_fds[2];
static char text[65536];

static int capture_start(void **state)
{
	log_set_format_json(false);
	log_set_level(LOG_INFO);
	saved_stderr = dup(STDERR_FILENO);
	return pipe2(pipe_fds, O_NONBLOCK) < 0 || dup2(pipe_fds[1], STDERR_FILENO) < 0;
}

static int capture_end(void **state)
{
	(void)dup2(saved_stderr, STDERR_FILENO);
	(void)close(saved_stderr);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	return 0;
}

/* captured() - what was written to stderr so far. */
static const char *captured(void)
{
	ssize_t n = read(pipe_fds[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void text_lines_have_the_agreed_form(void **state)
{
	errno = ENOENT;
	log_info("agent", "pod enrolled pod=%s/%s: %m", "demo", "web");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(
		captured() + 27,
		"\tinfo\tagent\tpod enrolled\tpod=demo/web: No such file or directory\n");
	assert_int_equal(text[26], 'Z');
	assert_int_equal(log_error_errno("ca", -EACCES, "cannot open file=%s", "x"), -EACCES);
	assert_string_equal(captured() + 27,
			    "\terror\tca\tcannot open\tfile=x: Permission denied\n");
}

static void control_bytes_cannot_forge_a_line(void **state)
{
	log_warn("t", "name=%s", "a\nb\x1b[31m\x7f");
	assert_string_equal(captured() + 27, "\twarn\tt\tname=a\\x0ab\\x1b[31m\\x7f\n");
}

static void levels_filter(void **state)
{
	log_debug("t", "hidden");
	assert_string_equal(captured(), "");
	log_set_level(LOG_DEBUG);
	log_debug("t", "shown");
	assert_string_equal(captured() + 27, "\tdebug\tt\tshown\n");
	assert_int_equal(log_level_from_string("trace"), LOG_TRACE);
	assert_int_equal(log_level_from_string("TRACE"), LOG_LEVEL_INVALID);
	assert_string_equal(log_level_to_string(LOG_WARN), "warn");
}

static void scopes_have_levels_of_their_own(void **state)
{
	static const char *const malformed[] = {"",         "loud",       "access=loud", "=info",
						"a b=info", "info,,warn", "access="};
	char err[LOG_FILTER_TEXT_MAX];
	char many[LOG_FILTER_TEXT_MAX] = "info";

	assert_int_equal(log_filter_apply("access=off,dns=debug,warn", err, sizeof(err)), 0);
	log_error("access", "off");
	log_info("t", "off");
	assert_string_equal(captured(), "");
	log_debug("dns", "shown");
	assert_string_equal(captured() + 27, "\tdebug\tdns\tshown\n");
	log_filter_format(err, sizeof(err));
	assert_string_equal(err, "access=off,dns=debug,warn");
	assert_int_equal(log_filter_apply("ztunnel::access=info", err, sizeof(err)), 0);
	assert_true(log_is_on(LOG_INFO, "access"));
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
		assert_int_equal(log_filter_apply(malformed[i], err, sizeof(err)), -EINVAL);
	for (int i = 0; i <= LOG_FILTER_SCOPES; i++)
		(void)snprintf(many + strlen(many), sizeof(many) - strlen(many), ",s%d=info", i);
	assert_int_equal(log_filter_set(many, err, sizeof(err)), -E2BIG);
	assert_true(log_is_on(LOG_DEBUG, "dns")); /* a mistake changes nothing */
	log_set_level(LOG_INFO);
	assert_false(log_is_on(LOG_DEBUG, "dns"));
}

static void json_lines_parse_and_have_fields(void **state)
{
	json_t *v;

	log_set_format_json(true);
	log_info("access", "connection complete src.addr=1.2.3.4:5 error=\"a \\\"b\\\" c\" "
			   "dur=\"3ms\" bytes=100 zip=007 odd \x01");
	v = json_loads(captured(), 0, NULL);
	assert_non_null(v);
	assert_string_equal(json_string_value(json_object_get(v, "level")), "info");
	assert_string_equal(json_string_value(json_object_get(v, "scope")), "access");
	assert_string_equal(json_string_value(json_object_get(v, "message")),
			    "connection complete");
	assert_string_equal(json_string_value(json_object_get(v, "src.addr")), "1.2.3.4:5");
	assert_string_equal(json_string_value(json_object_get(v, "error")), "a \"b\" c");
	assert_string_equal(json_string_value(json_object_get(v, "dur")), "3ms");
	assert_int_equal(json_integer_value(json_object_get(v, "bytes")), 100);
	assert_string_equal(json_string_value(json_object_get(v, "zip")), "007");
	assert_string_equal(json_string_value(json_object_get(v, "detail")), "odd \x01");
	json_decref(v);
}

static void huge_lines_are_cut_and_still_lines(void **state)
{
	static char big[20000];
	size_t len;

	memset(big, '\n', sizeof(big) - 1);
	log_info("t", "%s", big);
	len = strlen(captured());
	assert_true(len <= 8192);
	assert_int_equal(text[len - 1], '\n');
	assert_ptr_equal(strchr(text, '\n'), text + len - 1);
}

static json_t *json_of(const char *message)
{
	const char *line;
	json_t *v;

	log_info("t", "%s", message);
	line = captured();
	assert_true(strlen(line) <= 8192);
	assert_int_equal(line[strlen(line) - 1], '\n');
	v = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	if (!v)
		fail_msg("no JSON: %.200s ... %s", line, line + strlen(line) - 40);
	return v;
}

static void json_has_text_as_it_was(void **state)
{
	static const char *const values[] = {"M\xc3\xbcnchen", "\xe5\x8c\x97\xe4\xba\xac",
					     "\xf0\x9f\x9a\x87"};
	char message[64];

	log_set_format_json(true);
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		json_t *v;

		(void)snprintf(message, sizeof(message), "said zone=\"%s\"", values[i]);
		v = json_of(message);
		assert_string_equal(json_string_value(json_object_get(v, "zone")), values[i]);
		json_decref(v);
	}
	json_decref(json_of("said zone=\"\xc3\" other=\xff\xfe\xed\xa0\x80 \xc3"));
}

/* Wherever the room ends: in a key, in an escape, in a character of several bytes. */
static void a_line_of_json_that_is_cut_parses(void **state)
{
	static const char *const pieces[] = {"\x01", "\\\"", "\xc3\xbc", "\xff", "x"};
	char message[4096];

	log_set_format_json(true);
	for (size_t i = 0; i < ARRAY_SIZE(pieces) * 40; i++) {
		const char *piece = pieces[i % ARRAY_SIZE(pieces)];
		size_t at = (size_t)snprintf(message, sizeof(message), "m a=\"");

		/* six bytes of one each: some lines are cut here, some in what follows */
		for (size_t n = 0; n < 1300 + i; n++)
			at += (size_t)snprintf(message + at, sizeof(message) - at, "\x02");
		for (size_t n = 0; n < i / 2; n++)
			at += (size_t)snprintf(message + at, sizeof(message) - at, "%s", piece);
		(void)snprintf(message + at, sizeof(message) - at, "\" key=%zu b.c=\"%s\" rest %s",
			       i, piece, piece);
		json_decref(json_of(message));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(text_lines_have_the_agreed_form, capture_start,
						capture_end),
		cmocka_unit_test_setup_teardown(control_bytes_cannot_forge_a_line, capture_start,
						capture_end),
		cmocka_unit_test_setup_teardown(levels_filter, capture_start, capture_end),
		cmocka_unit_test_setup_teardown(scopes_have_levels_of_their_own, capture_start,
						capture_end),
		cmocka_unit_test_setup_teardown(json_lines_parse_and_have_fields, capture_start,
						capture_end),
		cmocka_unit_test_setup_teardown(huge_lines_are_cut_and_still_lines, capture_start,
						capture_end),
		cmocka_unit_test_setup_teardown(json_has_text_as_it_was, capture_start,
						capture_end),
		cmocka_unit_test_setup_teardown(a_line_of_json_that_is_cut_parses, capture_start,
						capture_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
