/* SPDX-License-Identifier: Apache-2.0 */
#include "install_words.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "chart.h"
#include "cli.h"
#include "json.h"
#include "kube_kinds.h"
#include "source/yaml.h"

/* value_of() - the value of an option at argv[i]. Return: how many words it is; 0: another one;
 * -EINVAL: it has no value. */
static int value_of(const char *name, char letter, char **argv, int i, const char **ret)
{
	const char *arg = argv[i];
	size_t n = strlen(name);
	bool is_long = str_has_prefix(arg, "--") && str_has_prefix(arg + 2, name);
	bool is_short = arg[0] == '-' && arg[1] == letter;
	const char *rest = arg + 2 + (is_long ? n : 0);

	if (!is_short && !(is_long && (!*rest || *rest == '=')))
		return 0;
	if (*rest) {
		*ret = rest + (*rest == '=');
		return 1;
	}
	*ret = argv[i + 1];
	return *ret ? 2 : -EINVAL;
}

static int word_take(char **argv, int i, struct install_words *w)
{
	const char *value = NULL;
	int n = value_of("filename", 'f', argv, i, &value);

	if (n > 0 && w->files_count < INSTALL_WORDS_MAX) {
		w->files[w->files_count++] = value;
		return n;
	}
	n = n ? -EINVAL : value_of("set", 's', argv, i, &value);
	if (n > 0 && w->sets_count < INSTALL_WORDS_MAX) {
		w->sets[w->sets_count++] = value;
		return n;
	}
	return n ? -EINVAL : 0;
}

int install_words_take(int *argc, char **argv, struct install_words *ret)
{
	int kept = 1;

	for (int i = 1; i < *argc;) {
		int n = word_take(argv, i, ret);

		if (n < 0) {
			(void)cli_fail("%s: %s: no value, or given more than %d times", argv[0],
				       argv[i], INSTALL_WORDS_MAX);
			return -EINVAL;
		}
		if (n == 0)
			argv[kept++] = argv[i++];
		i += n;
	}
	*argc = kept;
	argv[kept] = NULL;
	return 0;
}

int install_words_add_revision(struct install_words *w, const char *name)
{
	int n = snprintf(w->revision, sizeof(w->revision), "revision=%s", name ? name : "");

	if (!name)
		return 0;
	if (n < 0 || (size_t)n >= sizeof(w->revision) || w->sets_count == INSTALL_WORDS_MAX) {
		(void)cli_fail("--revision: too long, or too many words");
		return -EINVAL;
	}
	w->sets[w->sets_count++] = w->revision;
	return 0;
}

/* gather() - what the words ask for, over @spec. */
static int gather(const struct install_words *w, const json_t *spec, struct install_spec **ret,
		  char *err)
{
	_cleanup_(install_spec_freep) struct install_spec *s = NULL;
	int r = install_spec_new(&s);

	if (r == 0 && spec)
		r = install_spec_merge(s, spec);
	for (size_t i = 0; i < w->files_count && r == 0; i++)
		r = install_spec_file(s, w->files[i], err);
	for (size_t i = 0; i < w->sets_count && r == 0; i++)
		r = install_spec_set(s, w->sets[i], err);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

int install_words_revision(const struct install_words *w, char *ret, size_t size, char *err)
{
	_cleanup_(install_spec_freep) struct install_spec *s = NULL;
	int r = gather(w, NULL, &s, err);
	const char *name;

	if (r < 0)
		return r;
	name = json_text(json_object_get(install_spec_json(s), "values"), "revision", NULL);
	name = json_text(install_spec_json(s), "revision", name);
	if (!name)
		return 0;
	if (str_copy(ret, size, *name ? name : "default") == 0)
		return 1;
	(void)snprintf(err, CHART_ERROR_MAX, "revision: is too long");
	return -EINVAL;
}

int install_words_plan(const struct install_words *w, const json_t *spec, struct install_plan *ret,
		       json_t **ret_spec, char *err)
{
	_cleanup_(install_spec_freep) struct install_spec *s = NULL;
	int r = gather(w, spec, &s, err);

	if (r == 0)
		install_spec_leave(s, w->is_leaving_nodes, w->is_leaving_objects);
	if (r == 0)
		r = install_spec_plan(s, ret, err);
	if (r == 0 && ret_spec)
		*ret_spec = json_incref(install_spec_json(s));
	return r;
}

int install_plan_text(const struct install_plan *p, struct buf *out, char *err)
{
	static const char template[] = "templates/culvert.yaml";
	int r = p->has_crds ? buf_append_str(out, chart_file("crds/crds.yaml")) : 0;

	if (r == 0 && p->has_crds)
		r = buf_append_str(out, chart_file("crds/gateway-api.yaml"));
	/* which begins with "---" */
	return r < 0 ? r : chart_render(template, chart_file(template), p->values, out, err);
}

static int on_document(void *arg, const struct yaml_document *doc)
{
	json_t *all = arg;

	if (!json_is_object(doc->body))
		return 0;
	return json_array_append(all, doc->body) < 0 ? -ENOMEM : 0;
}

/* sort_by_rank() - stable. Return: 0; -EINVAL a kind that is in no table. */
static int sort_by_rank(const json_t *all, json_t *into, char *err)
{
	const json_t *one;
	size_t i;

	json_array_foreach (all, i, one)
		if (!kube_kind_of(one)) {
			(void)snprintf(err, CHART_ERROR_MAX, "%s %s: a kind that is not known here",
				       json_text(one, "apiVersion", ""),
				       json_text(one, "kind", ""));
			return -EINVAL;
		}
	for (int rank = 0; rank <= KUBE_RANK_WEBHOOK; rank++)
		json_array_foreach (all, i, one)
			if ((int)kube_kind_of(one)->rank == rank &&
			    json_array_append(into, (json_t *)(uintptr_t)one) < 0)
				return -ENOMEM;
	return 0;
}

int install_plan_objects(const struct install_plan *p, json_t **ret, char *err)
{
	_cleanup_(json_decrefp) json_t *all = json_array(), *sorted = json_array();
	_cleanup_(buf_resetp) struct buf text = {0};
	struct yaml_problem problem = {0};
	int r = all && sorted ? install_plan_text(p, &text, err) : -ENOMEM;

	if (r == 0)
		r = yaml_parse((const char *)buf_head(&text), buf_len(&text), on_document, all,
			       &problem);
	if (r == -EBADMSG) {
		(void)snprintf(err, CHART_ERROR_MAX, "the manifests: line %u: %s", problem.line,
			       problem.message);
		r = -EINVAL;
	}
	if (r == 0)
		r = sort_by_rank(all, sorted, err);
	if (r == 0)
		*ret = TAKE_PTR(sorted);
	return r;
}

int install_words_objects(const struct install_words *w, json_t **ret, char *err)
{
	struct install_plan p = {0};
	int r = install_words_plan(w, NULL, &p, NULL, err);

	if (r == 0)
		r = install_plan_objects(&p, ret, err);
	json_decref(p.values);
	return r;
}
