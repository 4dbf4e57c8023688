/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* plugin - the verbs of CNI, without the world around: what comes in, what goes out. The agent is
 * behind one function. */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/macros.h"
#include "culvert/cni.h"

/** struct plugin_env - the runtime's words; NULL where it has none. */
struct plugin_env {
	const char *command;   /* CNI_COMMAND */
	const char *container; /* CNI_CONTAINERID */
	const char *netns;     /* CNI_NETNS */
	const char *ifname;    /* CNI_IFNAME */
	const char *args;      /* CNI_ARGS */
};

/** struct plugin_world - what the plugin needs of the outside. */
struct plugin_world {
	/**
	 * ask() - put a request to the agent
	 * @netns: path of the namespace that goes with it; NULL: none.
	 * Return: 0; -ENOTCONN the agent is away; other -errno: of opening @netns, or of a
	 * conversation that went wrong.
	 */
	int (*ask)(void *arg, const char *socket, const struct cni_request *request,
		   const char *netns, struct cni_reply *ret);
	/** is_let_go() - the agent is away: has it been for @grace_s, and was this namespace not
	 * in the mesh when it knew last? */
	bool (*is_let_go)(void *arg, const char *socket, unsigned int grace_s,
			  const char *namespace_);
	void *arg;
};

/**
 * plugin_run() - do what the runtime asks for
 * @text: the network configuration, borrowed. @out: what goes to standard output.
 * Return: the exit code.
 */
_must_check_ int plugin_run(const struct plugin_env *env, const char *text, size_t len,
			    const struct plugin_world *world, struct buf *out);

/** plugin_error() - an error as the specification wants it, @code of enum config_error. Return: the
 * exit code. */
int plugin_error(struct buf *out, const char *version, unsigned int code, const char *message,
		 const char *details);
