/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* agent_link - the socket to the node agent (messages: culvert/zds.h): pods with their listeners
 * come in, sockets are asked for. Connects, and reconnects with back-off, by itself. Everything
 * received is checked before a callback sees it; anything malformed closes the connection. Thread:
 * the main loop. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "culvert/zds.h"

struct agent_link; /* opaque */
struct loop;

struct agent_link_ops {
	void (*on_connected)(void *arg);
	/* Nothing that was asked for will come any more. */
	void (*on_lost)(void *arg);
	/* @fds: ZDS_LISTENERS of them, the callee's. */
	void (*on_pod_add)(void *arg, const struct zds_pod_add *m, const int *fds);
	void (*on_pod_del)(void *arg, uint64_t netns_cookie);
	void (*on_synced)(void *arg);
	/* @fds: m->count of them, the callee's. */
	void (*on_sockets)(void *arg, const struct zds_sockets *m, const int *fds);
	void (*on_nameserver)(void *arg, const struct zds_nameserver *m);
	void (*on_metrics)(void *arg, const char *text, size_t len);
	void (*on_verdict_ask)(void *arg, const struct zds_verdict *m);
	void (*on_direct)(void *arg, const struct zds_direct *m, size_t count); /* in order */
	void (*on_direct_page)(void *arg, const struct zds_direct_page *m);
};

struct agent_link_config {
	struct loop *loop;                /* borrowed */
	const char *path;                 /* of the agent's socket; copied */
	const char *node;                 /* for HELLO; copied */
	const struct agent_link_ops *ops; /* borrowed */
	void *arg;
};

/** agent_link_new() - start connecting. Return: 0; -ENOMEM; -ENAMETOOLONG. */
_must_check_ int agent_link_new(const struct agent_link_config *config, struct agent_link **ret);
/** agent_link_free() - close; no callbacks. Takes NULL. Return: NULL. */
struct agent_link *agent_link_free(struct agent_link *l);
DEFINE_CLEANUP(struct agent_link *, agent_link_free);

bool agent_link_is_connected(const struct agent_link *l);
/** agent_link_ack() - answer to on_pod_add. @error: 0 or a positive errno. Return: 0; -ENOTCONN;
 * -ENOBUFS. */
int agent_link_ack(struct agent_link *l, uint64_t netns_cookie, int error);
/** agent_link_need() - ask for sockets. The header is filled in. Return: 0; -ENOTCONN; -ENOBUFS. */
int agent_link_need(struct agent_link *l, const struct zds_sockets *need);

/** agent_link_verdict() - answer to on_verdict_ask. agent_link_policy() - answers may be others
 * now. The header is filled in. Return: 0; -ENOTCONN; -ENOBUFS. */
int agent_link_verdict(struct agent_link *l, const struct zds_verdict *verdict);
int agent_link_policy(struct agent_link *l);

/** agent_link_direct_ask() - which direct connections are open? @id comes back in on_direct_page().
 * @at: 0, or `next` of the page before. Return: 0; -ENOTCONN; -ENOBUFS. */
int agent_link_direct_ask(struct agent_link *l, uint64_t id, uint32_t at);

/** agent_link_check() - is this a well-formed message that an agent may send? Never reads past
 * @len. Return: 0; -EBADMSG. */
_must_check_ int agent_link_check(const void *msg, size_t len, size_t fd_count);
