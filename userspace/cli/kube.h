/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube - the cluster that the command line means, and requests to its API server. Blocking, one
 * thread; what goes wrong is kept as a sentence. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "source/kube_config.h"

#define KUBE_MESH_NAMESPACE "istio-system"
#define KUBE_FIELD_MANAGER  "culvert"
#define KUBE_GROUPS_MAX     16
#define KUBE_WORDS_MAX      (2 * (4 + KUBE_GROUPS_MAX))

struct kube; /* opaque */

/** kube_words_take() - take --kubeconfig (-c) FILE and --context NAME, which every command has, out
 * of the words up to "--", and --as USER, --as-uid UID, --as-group GROUP, which may be given again;
 * as istioctl has them, too, --istioNamespace (-i), which can say nothing
 * else than where the mesh is, and --vklog, which says nothing here.
 * Return: 0; -EINVAL one of them has no value, or another one, said on stderr. */
_must_check_ int kube_words_take(int *argc, char **argv);
/** kube_words_put() - the same words for another run of this program. Return: how many,
 * KUBE_WORDS_MAX at most; borrowed. */
size_t kube_words_put(const char **argv);
/** kube_is_asked() - did those words say that a cluster is meant? */
bool kube_is_asked(void);
/** kube_is_there() - is there any way to a cluster: those words, a kubeconfig, a pod's account? */
bool kube_is_there(void);

/** kube_open() - the cluster that is meant; no request is made. Return: 0; 1, the exit code, with
 * what is wrong on stderr. */
_must_check_ int kube_open(struct kube **ret);
/** kube_new() - the API server of @config, which is taken, also on failure. Return: 0; -ENOMEM. */
_must_check_ int kube_new(struct kube_config *config, struct kube **ret);
struct kube *kube_close(struct kube *k);
DEFINE_CLEANUP(struct kube *, kube_close);

/** kube_config() - how it is reached; borrowed. */
const struct kube_config *kube_config(const struct kube *k);
/** kube_namespace() - of the context; "default" when it has none. Borrowed. */
const char *kube_namespace(const struct kube *k);
/** kube_why() - a sentence about the last request that failed. Borrowed until the next. */
const char *kube_why(const struct kube *k);
/** kube_fail() - cli_fail("WHAT: sentence"). Return: 1. */
int kube_fail(const struct kube *k, const char *what);

/** struct kube_ask - one request; borrowed for the call. */
struct kube_ask {
	const char *method;       /* NULL: "GET" */
	const char *path;         /* "/api/v1/pods?limit=100" */
	const char *content_type; /* of @body; NULL: JSON */
	const json_t *body;       /* NULL: none */
};

/**
 * kube_do() - a request and its answer
 * @ret: the caller's to drop; NULL: it is not wanted.
 * Return: 0 on a status of 2xx; -ENOENT 404, -EACCES 401 and 403, -EEXIST 409, -EINVAL 400 and 422,
 * -ETIMEDOUT, -ECONNREFUSED, -EKEYREJECTED certificates, -EBADMSG no JSON, -EIO all else.
 */
_must_check_ int kube_do(struct kube *k, const struct kube_ask *call, json_t **ret);
/** kube_get() - GET. Return: as kube_do(). */
_must_check_ int kube_get(struct kube *k, const char *path, json_t **ret);
/** kube_text() - GET of what is no JSON: logs. Return: as kube_do(). */
_must_check_ int kube_text(struct kube *k, const char *path, struct buf *ret);
/** kube_list() - all pages of a list. @ret: an array of the items, with kind and apiVersion as the
 * list has them. Return: as kube_do(). */
_must_check_ int kube_list(struct kube *k, const char *path, json_t **ret);
/**
 * kube_list_served() - the same, in the first version of a kind that the cluster has it in
 * @versions: as schema_kind and honoured_kind have them: NULL-ended.
 * @ns: NULL: of all namespaces, or of a kind that is in none.
 */
_must_check_ int kube_list_served(struct kube *k, const char *const *versions, const char *ns,
				  const char *plural, json_t **ret);
