/* SPDX-License-Identifier: Apache-2.0 */
#include "cni/cni_conf.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "culvert/cni.h"

static int fail(struct cni_conf *ret, const char *error)
{
	ret->error = error;
	return -EINVAL;
}

static const char *type_of(const json_t *plugin)
{
	return json_string_value(json_object_get(plugin, "type"));
}

static bool is_ours(const json_t *plugin)
{
	const char *type = type_of(plugin);

	return type && streq(type, CNI_PLUGIN_TYPE);
}

/* A version that our plugin does not speak would let no pod start. */
static bool is_version_spoken(const json_t *root)
{
	static const char *const versions[] = {CNI_VERSIONS};
	const char *version = json_string_value(json_object_get(root, "cniVersion"));

	for (size_t i = 0; version && i < ARRAY_SIZE(versions); i++)
		if (streq(version, versions[i]))
			return true;
	return false;
}

static int root_read(const char *text, size_t len, json_t **ret_root, struct cni_conf *ret)
{
	_cleanup_(json_decrefp) json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *plugins, *plugin;
	size_t i;

	*ret = (struct cni_conf){0};
	if (!json_is_object(root))
		return fail(ret, "expected a JSON object");
	plugins = json_object_get(root, "plugins");
	if (!plugins && !type_of(root))
		return fail(ret, "expected a list of plugins, or a type");
	if (plugins && json_array_size(plugins) == 0)
		return fail(ret, "plugins: expected a list that is not empty");
	json_array_foreach (plugins, i, plugin) {
		if (!type_of(plugin))
			return fail(ret, "plugins: expected each to have a type");
	}
	*ret_root = TAKE_PTR(root);
	return 0;
}

/* The one plugin as a list of one. */
static json_t *list_make(json_t *root)
{
	json_t *plugin = json_copy(root);
	json_t *list =
		json_pack("{s:O?, s:O?, s:[o]}", "cniVersion", json_object_get(root, "cniVersion"),
			  "name", json_object_get(root, "name"), "plugins", plugin);

	(void)json_object_del(plugin, "cniVersion");
	(void)json_object_del(plugin, "name");
	return list;
}

static bool take_out(json_t *plugins)
{
	bool is_changed = false;

	for (size_t i = json_array_size(plugins); i > 0; i--)
		if (is_ours(json_array_get(plugins, i - 1))) {
			(void)json_array_remove(plugins, i - 1);
			is_changed = true;
		}
	return is_changed;
}

static bool is_in_place(const json_t *plugins, const json_t *entry)
{
	size_t n = json_array_size(plugins), ours = 0;

	for (size_t i = 0; i < n; i++)
		ours += is_ours(json_array_get(plugins, i));
	return ours == 1 && json_equal(json_array_get(plugins, n - 1), entry);
}

static int text_make(const json_t *root, struct cni_conf *ret)
{
	ret->text = json_dumps(root, JSON_INDENT(2));
	return ret->text ? 1 : -ENOMEM;
}

int cni_conf_insert(const char *text, size_t len, json_t *entry, struct cni_conf *ret)
{
	_cleanup_(json_decrefp) json_t *root = NULL, *list = NULL;
	json_t *plugins;
	int r;

	r = root_read(text, len, &root, ret);
	if (r < 0)
		return r;
	if (!is_version_spoken(root))
		return fail(ret, "cniVersion: expected one of 0.3.0 to 1.1.0");
	ret->was_single = !json_object_get(root, "plugins");
	list = ret->was_single ? list_make(root) : json_incref(root);
	plugins = json_object_get(list, "plugins");
	if (is_in_place(plugins, entry))
		return 0;
	(void)take_out(plugins);
	if (json_array_size(plugins) == 0)
		return fail(ret, "plugins: expected one that makes the pod's interface");
	if (json_array_append(plugins, entry) < 0)
		return -ENOMEM;
	return text_make(list, ret);
}

int cni_conf_remove(const char *text, size_t len, struct cni_conf *ret)
{
	_cleanup_(json_decrefp) json_t *root = NULL;
	int r;

	r = root_read(text, len, &root, ret);
	if (r < 0)
		return r;
	if (!take_out(json_object_get(root, "plugins")))
		return 0;
	return text_make(root, ret);
}
