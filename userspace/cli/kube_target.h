/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_target - the pod or service of a cluster that a command line names. No state. */
#include <jansson.h>

#include "base/option.h"
#include "cli.h"
#include "kube.h"

/** KUBE_OPTION_NAMESPACE() - row of an option table: that of what is named, a string at @at of the
 * options' struct. */
#define KUBE_OPTION_NAMESPACE(at)                                                                  \
	{                                                                                          \
		.name = "namespace", .short_name = 'n', .type = OPTION_STRING, .offset = (at),     \
		.value_name = "NS",                                                                \
		.help = "of a bare name (default: that of the context); or NAME.NS, NS/NAME"       \
	}

/** struct kube_target - what is meant. */
struct kube_target {
	char namespace_[256], name[256];
};

/** kube_target_untyped() - istioctl takes "pod/web" and "deployment/web", too: no namespace of that
 * name is meant. Return: "web", within @word. */
const char *kube_target_untyped(const char *word);
/** kube_target_read() - @word: NAME, TYPE/NAME, NAME.NS or NS/NAME. @ns: that of the option, or
 * NULL: a bare name's is @fallback. Return: 0; -EINVAL, -ENOBUFS too long. */
_must_check_ int kube_target_read(const char *word, const char *ns, const char *fallback,
				  struct kube_target *ret);
/** kube_target_get() - the object, of "pods" or "services". @ret: the caller's to drop. Return: as
 * kube_get(). */
_must_check_ int kube_target_get(struct kube *k, const char *plural, const struct kube_target *t,
				 json_t **ret);
/** kube_target_fail() - tell that @command got none, and where it was looked for, which the API
 * server does not say. @error: of kube_target_get(). Return: 1, the exit code. */
int kube_target_fail(const struct kube *k, const struct kube_target *t, const char *command,
		     int error);
/** struct kube_target_ask - what a command line says of a pod: as kube_target_read(). */
struct kube_target_ask {
	const char *command; /* for messages */
	const char *word, *ns, *fallback;
};
/** kube_target_pod() - read and get a pod; tells the user why not. Return: 0; 1, the exit code. */
_must_check_ int kube_target_pod(struct kube *k, const struct kube_target_ask *ask,
				 struct kube_target *t, json_t **ret);
/** kube_target_node() - the node of such a @pod; tells @command's user when it has none yet.
 * Return: 0; 1, the exit code. */
_must_check_ int kube_target_node(const json_t *pod, const struct kube_target *t,
				  const char *command, char ret[CLI_PATH_MAX]);
