/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* torture_plan - what the two ends of a connection do, at random but the same for both. */
#include <stdbool.h>
#include <stdint.h>

#include "torture_io.h"

enum ending {
	END_CLIENT_FIRST, /* the client's FIN, then the server's data, then its FIN */
	END_SERVER_FIRST,
	END_BOTH,
	END_CLIENT_RESETS, /* SO_LINGER 0 once everything has been read */
	END_SERVER_RESETS,
	END_CLIENT_LEAVES, /* close with unread data */
	END_SERVER_LEAVES,
	END_CLIENT_ABORTS, /* SO_LINGER 0 in the midst of both streams */
	END_SERVER_ABORTS,
	END_MAX,
};

/* One direction. */
struct stream {
	uint32_t seed, total, chunk, pause_every;
	enum writing writing;
	enum reading reading;
	uint32_t urgent; /* this byte is; `total`: none */
	bool is_apart;   /* the urgent byte is read beside the stream, not in it */
	bool is_late;    /* nobody reads until the buffers are full */
};

struct plan {
	struct stream up, down; /* client to server, and back */
	enum waiting client_waits, server_waits;
	enum ending ending;
	bool is_nodelay;
};

/* What the client says first. @has_urgent is 0 where a proxy is between them: none knows where in
 * its stream an urgent byte is. */
struct head {
	uint32_t seed, index, has_urgent;
};

/** random_below() - the next of the numbers that follow @state, below @n. */
uint32_t random_below(uint32_t *state, uint32_t n);
/** plan_of() - the plan of the connection that begins with @h. */
struct plan plan_of(const struct head *h);
/** bytes_of() - the bytes of a stream, the caller's. NULL without memory. */
uint8_t *bytes_of(const struct stream *st);
