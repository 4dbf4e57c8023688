/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* maker_link - between the agent and its child, culvert-maker. Only these two include it. */
#include <stdint.h>

#define MAKER_PROGRAM "culvert-maker" /* beside culvert-agent */

/** enum maker_fd - the child's descriptors: it has no others but the usual three. */
enum maker_fd {
	MAKER_LINK = 3, /* SOCK_SEQPACKET; its end is the child's */
	MAKER_HOME,     /* the agent's network namespace */
	MAKER_MARK,     /* cv_sockets */
	MAKER_FD_MAX,
};

/**
 * struct maker_request - what is wanted, as sockets_dial() takes it; with the descriptor of a
 * network namespace. The answer is an int, 0 with @count descriptors or -errno.
 */
struct maker_request {
	uint32_t kind, family, count;
};
