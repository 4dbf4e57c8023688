/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* config - a network configuration as the runtime gives it to a plugin. Owner: its reader. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define CONFIG_MAX (1024 * 1024) /* bytes; a result with a thousand routes has some 100 KiB */

/* https://www.cni.dev/docs/spec/#error */
enum config_error {
	CONFIG_ERROR_VERSION = 1,
	CONFIG_ERROR_ENVIRONMENT = 4,
	CONFIG_ERROR_IO = 5,
	CONFIG_ERROR_DECODE = 6,
	CONFIG_ERROR_INVALID = 7,
	CONFIG_ERROR_AGAIN = 11,
};

struct config {
	json_t *root;         /* owned */
	const char *version;  /* cniVersion; in @root */
	const char *socket;   /* of the agent; in @root, or the default */
	const json_t *exempt; /* more namespaces that never wait for the agent; NULL: none */
	unsigned int grace_s; /* how long the others wait for an agent that is away; 0: for ever */
	const char *prev;     /* prevResult as it was written, in the text given; NULL: none */
	size_t prev_len;
	enum config_error code; /* on failure */
	char error[256];
};

/**
 * config_read() - understand a configuration
 * @text: borrowed, must outlive @ret.
 * @ret:  also after a failure: code and error say what is wrong; config_clear() it either way.
 * Return: 0; -EINVAL.
 */
_must_check_ int config_read(const char *text, size_t len, struct config *ret);
/** config_clear() - free what it has. */
void config_clear(struct config *c);

/** config_is_exempt() - may pods of this namespace start without the agent? Those of istio-system
 * and kube-system always may. */
bool config_is_exempt(const struct config *c, const char *namespace_);

/** config_versions() - the versions of CNI that are spoken, oldest first, NULL-ended; static. */
const char *const *config_versions(void);
/** config_version_reaches() - is cniVersion at least @since, which is one of config_versions()? */
bool config_version_reaches(const struct config *c, const char *since);
