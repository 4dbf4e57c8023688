/* SPDX-License-Identifier: Apache-2.0 */
#include "lab.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"

/* --- YAML --- */

/* Plain only where no YAML version could read it as anything else. */
static bool is_plain(const char *s)
{
	static const char *const words[] = {"true", "false", "yes", "no", "on",
					    "off",  "null",  "y",   "n"};
	const char *p;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcasecmp(s, words[i]) == 0)
			return false;
	if (!isalpha((unsigned char)s[0]) && s[0] != '/')
		return false;
	for (p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("-_./", *p))
			return false;
	return true;
}

static int write_scalar(struct buf *b, const json_t *j)
{
	_cleanup_(freep) char *text = NULL;

	if (json_is_string(j) && is_plain(json_string_value(j)))
		return buf_append_str(b, json_string_value(j));
	text = json_dumps(j, JSON_ENCODE_ANY | JSON_COMPACT);
	return text ? buf_append_str(b, text) : -ENOMEM;
}

static bool is_block(const json_t *j)
{
	return (json_is_object(j) && json_object_size(j) > 0) ||
	       (json_is_array(j) && json_array_size(j) > 0);
}

static int write_node(struct buf *b, const json_t *j, int indent, bool is_in_list);

static int write_key(struct buf *b, const char *key)
{
	_cleanup_(json_decrefp) json_t *k = json_string(key);

	return k ? write_scalar(b, k) : -ENOMEM;
}

static int write_mapping(struct buf *b, const json_t *j, int indent, bool is_in_list)
{
	bool is_first = true;
	const char *key;
	json_t *v;
	int r = 0;

	json_object_foreach ((json_t *)j, key, v) {
		buf_printf(b, "%*s", is_first && is_in_list ? 0 : indent, "");
		is_first = false;
		r = write_key(b, key);
		if (r == 0)
			r = buf_append_str(b, is_block(v) ? ":\n" : ": ");
		if (r == 0)
			r = write_node(b, v, json_is_array(v) ? indent : indent + 2, false);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_list(struct buf *b, const json_t *j, int indent)
{
	json_t *v;
	size_t i;
	int r = 0;

	json_array_foreach ((json_t *)j, i, v) {
		r = buf_printf(b, "%*s- ", indent, "");
		if (r == 0 && json_is_array(v) && is_block(v))
			r = buf_append_str(b, "\n");
		if (r == 0)
			r = write_node(b, v, indent + 2, true);
		if (r < 0)
			return r;
	}
	return 0;
}

static int write_node(struct buf *b, const json_t *j, int indent, bool is_in_list)
{
	int r;

	if (json_is_object(j) && is_block(j))
		return write_mapping(b, j, indent, is_in_list);
	if (json_is_array(j) && is_block(j))
		return write_list(b, j, indent);
	r = write_scalar(b, j);
	return r < 0 ? r : buf_append_str(b, "\n");
}

int lab_yaml_write(struct buf *b, const json_t *j)
{
	return write_node(b, j, 0, false);
}

/* --- folder --- */

char *lab_config_path(const json_t *body, char *buf, size_t size)
{
	const char *ns = lab_str(body, "metadata.namespace", "");
	int n;

	n = snprintf(buf, size, LAB_CONFIG_DIR "/%s%s%s-%s.yaml", lab_str(body, "kind", "object"),
		     *ns ? "-" : "", ns, lab_str(body, "metadata.name", ""));
	for (char *p = buf + strlen(LAB_CONFIG_DIR "/"); n > 0 && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return buf;
}

int lab_config_write_object(const json_t *body)
{
	_cleanup_(buf_resetp) struct buf b = {0};
	char path[LAB_PATH_MAX];
	int r;

	r = buf_append_str(&b,
			   "# Made by `culvert lab`; the next `culvert lab up` writes it anew.\n");
	if (r == 0)
		r = lab_yaml_write(&b, body);
	if (r == 0)
		r = lab_write_if_changed(lab_config_path(body, path, sizeof(path)), buf_head(&b),
					 buf_len(&b));
	if (r < 0)
		return lab_fail(r, "cannot write %s: %s", path, strerror(-r));
	return 0;
}

static int write_object(json_t *written, const json_t *body)
{
	char path[LAB_PATH_MAX];
	int r;

	r = lab_config_write_object(body);
	if (r < 0)
		return r;
	(void)lab_config_path(body, path, sizeof(path));
	return json_object_set_new(written, path, json_true()) < 0 ? -ENOMEM : 0;
}

static int write_list_of(json_t *written, const json_t *list)
{
	json_t *body;
	size_t i;
	int r = 0;

	json_array_foreach ((json_t *)list, i, body)
		if (r == 0)
			r = write_object(written, body);
	return r;
}

static json_t *node_object(unsigned int i)
{
	return json_pack(
		"{s:s,s:s,s:{s:o,s:{s:o,s:s,s:s}},s:{s:o,s:[o,o]},s:{s:[{s:s,s:o},{s:s,s:o}]}}",
		"apiVersion", "v1", "kind", "Node", "metadata", "name", json_sprintf("n%u", i),
		"labels", "kubernetes.io/hostname", json_sprintf("n%u", i),
		"topology.kubernetes.io/region", "lab", "topology.kubernetes.io/zone", "lab-a",
		"spec", "podCIDR", json_sprintf("10.244.%u.0/24", i), "podCIDRs",
		json_sprintf("10.244.%u.0/24", i), json_sprintf("fd00:10:244:%x::/64", i), "status",
		"addresses", "type", "InternalIP", "address", json_sprintf("10.10.0.%u", i), "type",
		"InternalIP", "address", json_sprintf("fd00:10:10::%x", i));
}

/* Only files with our first line go: what a person or a test put beside them stays. */
static void remove_stale(const json_t *written)
{
	_cleanup_(closedirp) DIR *d = opendir(LAB_CONFIG_DIR);
	struct dirent *e;

	while (d && (e = readdir(d)) != NULL) {
		_cleanup_(freep) char *text = NULL;
		char path[LAB_PATH_MAX];

		(void)lab_path(path, sizeof(path), LAB_CONFIG_DIR "/%s", e->d_name);
		if (json_object_get(written, path) || file_read(path, 16u << 20, &text, NULL) < 0)
			continue;
		if (str_has_prefix(text, "# Made by `culvert lab`"))
			(void)unlink(path);
	}
}

int lab_config_write(struct lab *l)
{
	_cleanup_(json_decrefp) json_t *written = json_object();
	const char *key;
	json_t *pod;
	int r = written ? 0 : -ENOMEM;

	for (unsigned int i = 1; i <= l->node_count && r == 0; i++) {
		_cleanup_(json_decrefp) json_t *node = node_object(i);

		r = node ? write_object(written, node) : -ENOMEM;
	}
	if (r == 0)
		r = write_list_of(written, l->objects);
	if (r == 0)
		r = write_list_of(written, l->services);
	json_object_foreach (l->pods, key, pod)
		if (r == 0)
			r = write_object(written, pod);
	if (r == 0)
		remove_stale(written);
	return r;
}
