/* SPDX-License-Identifier: Apache-2.0 */
/* chart_render - templates make what Helm makes of them; those outside the part that is read are
 * refused. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "userspace/cli/chart.h"
#include "userspace/cli/json.h"

/* What `helm template` (3.22) prints for the same. */
static void templates_render_as_helm_renders_them(void **state)
{
	static const struct {
		const char *text, *out;
	} rows[] = {
		{"a: {{ .Values.s }}\n", "a: x\n"},
		{"a: {{ .Values.o | toJson }}\n", "a: {\"k\":[1,true]}\n"},
		{"a: {{ .Values.o | toJson | toJson }}\n", "a: \"{\\\"k\\\":[1,true]}\"\n"},
		{"a\n{{- if .Values.s }}\nb\n{{- else }}\nc\n{{- end }}\nd\n", "a\nb\nd\n"},
		{"a\n{{- if .Values.e }}\nb\n{{- else }}\nc\n{{- end }}\nd\n", "a\nc\nd\n"},
		{"{{ if .Values.e }}{{ if .Values.s }}1{{ else }}2{{ end }}{{ else }}3{{ end }}",
		 "3"},
		{"no action at all", "no action at all"},
		{"{{ range .Values.l }}{{ if kindIs \"string\" . }}{{ . }}{{ else }}{{ . | toJson "
		 "}}{{ end "
		 "}}, {{ end }}.",
		 "x, {\"k\":1}, ."},
		{"{{ range .Values.none }}{{ . }}{{ end }}.", "."},
		{"{{ range .Values.null }}{{ . }}{{ end }}.", "."},
		{"{{ range .Values.l }}{{ range .Values.n }}{{ . }}{{ end }}/{{ end }}", "12/12/"},
		{"{{ if .Values.e }}{{ range .Values.n }}{{ . }}{{ end }}{{ end }}.", "."},
		{"{{ .Values.nulls | toJson }}", "{\"b\":{},\"c\":0.1}"},
	};
	_cleanup_(json_decrefp) json_t *values =
		json_loads("{\"s\":\"x\",\"e\":\"\",\"o\":{\"k\":[1,true]},\"l\":[\"x\",{\"k\":1}],"
			   "\"n\":[1,2],\"none\":[],\"null\":null,"
			   "\"nulls\":{\"a\":null,\"b\":{\"k\":null},\"c\":0.1}}",
			   0, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(buf_resetp) struct buf out = {0};
		char err[CHART_ERROR_MAX] = "";

		if (chart_render("t", rows[i].text, values, &out, err) < 0)
			fail_msg("%s", err);
		assert_int_equal(buf_append(&out, "", 1), 0);
		assert_string_equal((char *)buf_head(&out), rows[i].out);
	}
}

static void what_is_not_read_is_refused_by_its_line(void **state)
{
	static const char *const bad[] = {
		"\n{{ include \"x\" . }}",
		"\n{{ .Values.none }}",
		"\n{{ .Values.s | quote }}",
		"\n{{ .Values.s | toJson quote }}",
		"\n{{ .Values.o }}",
		"\n{{ .Release.Name }}",
		"\n{{ if .Values.s }}a",
		"\n{{ end }}",
		"\n{{ else }}",
		"\n{{ .Values.s",
		"\n{{-}}",
		"\n{{ range .Values.o }}{{ end }}",
		"\n{{ range .Values.none }}{{ end }}",
		"\n{{ . }}",
		"\n{{ if kindIs \"string\" . }}{{ end }}",
		"\n{{ if kindIs \"map\" .Values.o }}{{ end }}",
		"\n{{ if not .Values.s }}{{ end }}",
		"\n{{ if .Values.s | ne \"x\" }}{{ end }}",
		"\n{{ if .Values.s | default \"default\" | ne \"x\" }}{{ end }}",
		"\n{{ if .Values.o | default \"default\" | ne \"default\" }}{{ end }}",
		"\n{{ if .Values.s }}{{ else }}{{ else }}{{ end }}",
		"\n{{ .Values.s -}}\n",
	};
	_cleanup_(json_decrefp) json_t *values = json_loads("{\"s\":\"x\",\"o\":{}}", 0, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(buf_resetp) struct buf out = {0};
		char err[CHART_ERROR_MAX] = "";

		if (chart_render("t", bad[i], values, &out, err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		if (!str_has_prefix(err, "t:2: "))
			fail_msg("%s: said \"%s\"", bad[i], err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(templates_render_as_helm_renders_them),
		cmocka_unit_test(what_is_not_read_is_refused_by_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
