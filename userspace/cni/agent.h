/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* agent - the way to culvert-agent, and what to do while it is away. No state in the process. */
#include <stdbool.h>

#include "base/macros.h"
#include "culvert/cni.h"

/** agent_ask() - as struct plugin_world has it. Blocks: the agent's answer, for at most 20 s. */
_must_check_ int agent_ask(void *arg, const char *socket, const struct cni_request *request,
			   const char *netns, struct cni_reply *ret);
/** agent_is_let_go() - as struct plugin_world has it. The first call of an absence begins to count.
 */
bool agent_is_let_go(void *arg, const char *socket, unsigned int grace_s, const char *namespace_);
