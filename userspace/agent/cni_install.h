/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cni_install - culvert-cni among the node's network plugins, and kept there: what another tool
 * overwrites is repaired. It stays when the agent ends; only cni_uninstall() takes it away. Owner:
 * agent. Thread: loop only. */
#include <jansson.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "cni/cni_folder.h"

struct cni_install; /* opaque */

struct cni_install_config {
	struct loop *loop;    /* borrowed */
	struct cni_dirs dirs; /* strings are copied */
	json_t *entry;        /* of the list of plugins; taken, also on failure */
};

/** cni_install_new() - put it there, and watch. What hinders it is logged, and tried again. Return:
 * 0; -ENOMEM. */
_must_check_ int cni_install_new(const struct cni_install_config *config, struct cni_install **ret);
/** cni_install_free() - stop watching. Takes NULL. Return: NULL. */
struct cni_install *cni_install_free(struct cni_install *c);
DEFINE_CLEANUP(struct cni_install *, cni_install_free);

/** cni_install_error() - why it is not in place, or NULL when it is; valid until the next turn of
 * the loop. Takes NULL: "not begun". */
const char *cni_install_error(const struct cni_install *c);

/** cni_uninstall() - take it out of every configuration, then the program away. Logs failures.
 * Return: 0; the first -errno. */
int cni_uninstall(const struct cni_dirs *dirs);
