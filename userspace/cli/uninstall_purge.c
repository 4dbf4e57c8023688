/* SPDX-License-Identifier: Apache-2.0 */
#include "uninstall_purge.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "json.h"
#include "kube_kinds.h"
#include "source/honoured.h"

#define NAMESPACE   "/api/v1/namespaces/" KUBE_MESH_NAMESPACE
#define CA_SECRET   NAMESPACE "/secrets/istio-ca-secret"
#define DEPLOYMENTS "/apis/apps/v1/namespaces/" KUBE_MESH_NAMESPACE "/deployments"
#define CLASSES                                                                                    \
	"/apis/gateway.networking.k8s.io/v1/gatewayclasses?labelSelector=" HONOURED_MAKER_LABEL    \
	"%3D" HONOURED_MAKER

static const struct {
	const char *path, *prefix;
	bool is_istios_too; /* by the same name */
} lists[] = {
	{"/api/v1/configmaps?fieldSelector=metadata.name%3Distio-ca-root-cert",
	 "istio-ca-root-cert", true},
	{CLASSES, "istio", false},
	{UNINSTALL_LEASES, UNINSTALL_LEASE, false},
};

int uninstall_find_istio(struct install_run *run, bool *ret)
{
	int r;
	_cleanup_(json_decrefp) json_t *some = NULL;
	const json_t *one;
	size_t i;

	*ret = false;
	r = kube_list(run->kube, DEPLOYMENTS, &some);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	json_array_foreach (some, i, one) {
		const char *app = kube_meta(one, "labels", "app");
		bool is_istiod = streq(kube_name(one), "istiod") || (app && streq(app, "istiod"));

		*ret = *ret || (is_istiod && !revision_is_ours(one));
	}
	return 0;
}

static bool has_any(struct install_run *run, const char *path, const char *prefix)
{
	_cleanup_(json_decrefp) json_t *some = NULL;
	int r = kube_list(run->kube, path, &some);
	const json_t *one;
	size_t i;

	json_array_foreach (some, i, one)
		if (str_has_prefix(kube_name(one), prefix))
			return true;
	return r < 0 && r != -ENOENT;
}

bool uninstall_purge_is_due(struct install_run *run)
{
	bool is_istios;

	if (uninstall_find_istio(run, &is_istios) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		if (!(is_istios && lists[i].is_istios_too) &&
		    has_any(run, lists[i].path, lists[i].prefix))
			return true;
	return !is_istios && kube_get(run->kube, CA_SECRET, NULL) != -ENOENT;
}

static int delete_all(struct install_run *run, const char *path, const char *prefix)
{
	_cleanup_(json_decrefp) json_t *some = NULL;
	int r = kube_list(run->kube, path, &some);
	const json_t *one;
	size_t i;

	if (r < 0)
		return r == -ENOENT ? 0 : kube_fail(run->kube, path);
	json_array_foreach (some, i, one)
		if (str_has_prefix(kube_name(one), prefix) && install_delete(run, one) < 0)
			return kube_fail(run->kube, kube_name(one));
	return 0;
}

int uninstall_purge_made(struct install_run *run)
{
	bool is_istios;
	int r = uninstall_find_istio(run, &is_istios);

	if (r < 0)
		return kube_fail(run->kube, DEPLOYMENTS);
	for (size_t i = 0; i < ARRAY_SIZE(lists) && r == 0; i++)
		if (!(is_istios && lists[i].is_istios_too))
			r = delete_all(run, lists[i].path, lists[i].prefix);
	if (r == 0 && is_istios)
		progress_note(&run->progress,
			      "istio-ca-secret and istio-ca-root-cert stay: Istio's own control "
			      "plane is there, whose they are");
	else if (r == 0) /* by its own name: beside it may be copies that somebody keeps */
		r = uninstall_delete(run, CA_SECRET);
	return r;
}

/* served() - a version in which objects of a kind can be listed; all of them are in each. NULL:
 * there is none. */
static const char *served(const json_t *spec)
{
	const json_t *one;
	size_t i;

	json_array_foreach (json_object_get(spec, "versions"), i, one)
		if (json_is_true(json_object_get(one, "served")))
			return json_text(one, "name", NULL);
	return NULL;
}

int uninstall_count(struct install_run *run, const json_t *crd, size_t *ret)
{
	const json_t *spec = json_object_get(crd, "spec");
	const char *version = served(spec);
	_cleanup_(freep) char *path =
		str_format("/apis/%s/%s/%s", json_text(spec, "group", ""), version ? version : "",
			   json_text(json_object_get(spec, "names"), "plural", ""));
	_cleanup_(json_decrefp) json_t *used = NULL;
	int r = !path ? -ENOMEM : version ? kube_list(run->kube, path, &used) : -ENOENT;

	if (r == 0)
		*ret = json_array_size(used);
	return r;
}

int uninstall_delete(struct install_run *run, const char *path)
{
	int r = kube_do(run->kube, &(struct kube_ask){.method = "DELETE", .path = path}, NULL);

	return r < 0 && r != -ENOENT ? kube_fail(run->kube, path) : 0;
}
