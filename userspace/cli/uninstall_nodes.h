/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* uninstall_nodes - the nodes that are to let go of their pods, and those that cannot be heard:
 * what may stay on them would hold up every pod that is to start there. Blocking, one thread. */
#include <jansson.h>
#include <stdbool.h>

#include "install.h"

/** struct uninstall_nodes - zero it before use. */
struct uninstall_nodes {
	json_t *unheard; /* by name: why nobody can say what is left on it */
	json_t *down;    /* by name: those of them that are not Ready */
	char *program;   /* of the plugin, on a node; NULL: the nodes have none */
	char *conf;      /* the folder of network configurations there */
};

/** uninstall_nodes_look() - which nodes are not Ready, and where the DaemonSet among @objects has
 * put the plugin; where there is no DaemonSet any more, it is taken for where the chart puts it.
 * Return: 0; 1, said on stderr. */
_must_check_ int uninstall_nodes_look(struct uninstall_nodes *n, struct install_run *run,
				      const json_t *objects);
/** uninstall_nodes_release() - tell all agents to let go of their pods, and wait for those that
 * can be asked. Return: 0; 1, said on stderr. */
_must_check_ int uninstall_nodes_release(struct uninstall_nodes *n, struct install_run *run);
/** uninstall_nodes_left() - how many of @pods will end: a node that is not Ready ends none. */
size_t uninstall_nodes_left(const struct uninstall_nodes *n, const json_t *pods);
/** uninstall_nodes_tell() - where the plugin may still be, and what takes it away. */
void uninstall_nodes_tell(const struct uninstall_nodes *n);
/** uninstall_nodes_clear() - release what it holds. */
void uninstall_nodes_clear(struct uninstall_nodes *n);
