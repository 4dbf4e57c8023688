/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* admin - ask the daemons of nodes over their admin sockets: of this machine, or of a cluster.
 * Blocking. */
#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/macros.h"
#include "cli.h"

/** struct admin_node - where a node's sockets are. */
struct admin_node {
	char name[CLI_PATH_MAX];
	char run_dir[CLI_PATH_MAX];
	char pod[CLI_PATH_MAX]; /* of a cluster's node; "": it is a node of this machine */
	char revision[64];      /* of that pod: label istio.io/rev; "": it has none */
	bool is_leaving;        /* that pod is being deleted: another may have its place already */
};

#define ADMIN_NODES_MAX 1024

/**
 * admin_find_local() - the nodes of this machine that are meant.
 * @node, @run_dir: as given on the command line, or NULL. Neither: every folder of /run/culvert
 * that has a node's sockets. Return: how many, 0 when there are none.
 */
size_t admin_find_local(const char *node, const char *run_dir, struct admin_node *ret, size_t max);

/** admin_is_remote() - is a cluster meant? It is asked for by --kubeconfig or --context, or there
 * is one and no such node here. */
bool admin_is_remote(const char *node, const char *run_dir);

/** admin_find_nodes() - the same; where this machine has none, or a cluster is asked for, those of
 * the cluster. */
size_t admin_find_nodes(const char *node, const char *run_dir, struct admin_node *ret, size_t max);

/** admin_find_beside() - the node called @name, where @n is: in the folder beside it, or in the
 * same cluster. Return: true when it is there. */
bool admin_find_beside(const struct admin_node *n, const char *name, struct admin_node *ret);

/** admin_none() - tell that there are no nodes. Return: 1, the exit code. */
int admin_none(void);

/**
 * admin_find_one() - the one node that is meant; tells when there are none or several. Of its two
 * pods, while one replaces the other, the one that stays.
 * Return: 0; else the exit code.
 */
_must_check_ int admin_find_one(const char *node, const char *run_dir, struct admin_node *ret);

/** admin_fail() - tell why @part of a node gave nothing, @error from admin_request() or
 * admin_get_json(). Return: 1, the exit code. */
int admin_fail(const struct admin_node *n, const char *part, int error);

/**
 * admin_request() - one request to a daemon's admin socket.
 * @part:   "control", "agent", "ztunnel".
 * @method: "GET", "POST".
 * @body:   receives the answer.
 * Return: the HTTP status; -ECONNREFUSED nobody listens; -EACCES not allowed; -EIO anything else.
 */
_must_check_ int admin_request(const struct admin_node *n, const char *part, const char *method,
			       const char *target, struct buf *body);

/** admin_escape() - for the value of a query; caller frees. NULL: out of memory. */
char *admin_escape(const char *s);

/** admin_ask_json() - GET and parse whatever the status. Return: the HTTP status, *@ret owned by
 * the caller; -EBADMSG no JSON; as admin_request(). */
_must_check_ int admin_ask_json(const struct admin_node *n, const char *part, const char *target,
				json_t **ret);

/** admin_get_json() - GET and parse. Return: 0, *@ret owned by the caller; -EBADMSG no JSON or not
 * 200; as admin_request(). */
_must_check_ int admin_get_json(const struct admin_node *n, const char *part, const char *target,
				json_t **ret);
