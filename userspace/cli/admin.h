/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* admin - ask the daemons of the nodes on this machine over their admin sockets. Blocking. */
#include <jansson.h>

#include "base/buf.h"
#include "base/macros.h"
#include "cli.h"

/** struct admin_node - where a node's sockets are. */
struct admin_node {
	char name[CLI_PATH_MAX];
	char run_dir[CLI_PATH_MAX];
};

#define ADMIN_NODES_MAX 64

/**
 * admin_find_nodes() - the nodes that are meant.
 * @node, @run_dir: as given on the command line, or NULL. Neither: every folder of /run/culvert
 * that has a node's sockets. Return: how many, 0 when there are none.
 */
size_t admin_find_nodes(const char *node, const char *run_dir, struct admin_node *ret, size_t max);

/**
 * admin_request() - one request to a daemon's admin socket.
 * @part:   "control", "agent", "ztunnel".
 * @method: "GET", "POST".
 * @body:   receives the answer.
 * Return: the HTTP status; -ECONNREFUSED nobody listens; -EACCES not allowed; -EIO anything else.
 */
_must_check_ int admin_request(const struct admin_node *n, const char *part, const char *method,
			       const char *target, struct buf *body);

/** admin_get_json() - GET and parse. Return: 0, *@ret owned by the caller; -EBADMSG no JSON or not
 * 200; as admin_request(). */
_must_check_ int admin_get_json(const struct admin_node *n, const char *part, const char *target,
				json_t **ret);
