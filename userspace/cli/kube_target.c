/* SPDX-License-Identifier: Apache-2.0 */
#include "kube_target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "json.h"

const char *kube_target_untyped(const char *word)
{
	static const char *const types[] = {
		"pod/",          "pods/",       "po/",          "service/",    "services/",
		"svc/",          "deployment/", "deployments/", "deploy/",     "statefulset/",
		"statefulsets/", "sts/",        "daemonset/",   "daemonsets/", "ds/"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_has_prefix(word, types[i]))
			return word + strlen(types[i]);
	return word;
}

int kube_target_read(const char *word, const char *ns, const char *fallback,
		     struct kube_target *ret)
{
	const char *slash, *dot;
	int n;

	word = kube_target_untyped(word);
	slash = strchr(word, '/');
	dot = strchr(word, '.');
	if (slash)
		n = snprintf(ret->namespace_, sizeof(ret->namespace_), "%.*s", (int)(slash - word),
			     word);
	else
		n = snprintf(ret->namespace_, sizeof(ret->namespace_), "%s",
			     ns    ? ns
			     : dot ? dot + 1
				   : fallback);
	if (n >= (int)sizeof(ret->namespace_))
		return -EINVAL;
	if (slash)
		return str_copy(ret->name, sizeof(ret->name), slash + 1);
	n = snprintf(ret->name, sizeof(ret->name), "%.*s",
		     dot && !ns ? (int)(dot - word) : (int)strlen(word), word);
	return n < (int)sizeof(ret->name) ? 0 : -EINVAL;
}

int kube_target_get(struct kube *k, const char *plural, const struct kube_target *t, json_t **ret)
{
	_cleanup_(freep) char *path =
		str_format("/api/v1/namespaces/%s/%s/%s", t->namespace_, plural, t->name);

	return path ? kube_get(k, path, ret) : -ENOMEM;
}

int kube_target_fail(const struct kube *k, const struct kube_target *t, const char *command,
		     int error)
{
	if (error == -ENOENT)
		return cli_fail("%s: %s in namespace %s", command, kube_why(k), t->namespace_);
	return cli_fail("%s: %s", command, kube_why(k));
}

int kube_target_pod(struct kube *k, const struct kube_target_ask *ask, struct kube_target *t,
		    json_t **ret)
{
	int r;

	if (kube_target_read(ask->word, ask->ns, ask->fallback, t) < 0)
		return cli_fail("%s: %s: the name is too long", ask->command, ask->word);
	r = kube_target_get(k, "pods", t, ret);
	return r < 0 ? kube_target_fail(k, t, ask->command, r) : 0;
}

int kube_target_node(const json_t *pod, const struct kube_target *t, const char *command,
		     char ret[CLI_PATH_MAX])
{
	const char *node = json_text(json_object_get(pod, "spec"), "nodeName", "");

	if (str_copy(ret, CLI_PATH_MAX, node) == 0 && *ret)
		return 0;
	return cli_fail("%s: pod %s in namespace %s is on no node yet", command, t->name,
			t->namespace_);
}
