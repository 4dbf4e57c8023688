/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pair - the peer as a second enrolled pod of the node: what tests of direct connections stand on.
 */
#include "harness.h"

#define SERVER4 PEER4 ":80"
#define SERVER6 "[" PEER6 "]:80"
#define BOTH    (CV_POD_ALIVE | CV_POD_CAPTURE | CV_POD_DIRECT)

extern uint64_t server_cookie;   /* of the second pod, once it is one */
extern struct cv_pod server_pod; /* in force by server_set() */

/** pair_begin() - the peer becomes a second enrolled pod, generation 7 counts; nothing is steered
 * there: what is not vouched for is reset. No guard is attached: packets go as they are routed. */
void pair_begin(void);

/** server_set() - put server_pod in force, with these flags. */
void server_set(uint32_t flags);

/** link_set() - the link of that pod is known, with these of enum cv_link_flags. */
void link_set(uint64_t cookie, uint32_t flags);

/** generation_set() - only verdicts of this generation count. */
void generation_set(uint64_t g);

/** verdict_set() - of now, about the pod's connections to this port (host order) of the server. */
void verdict_set(uint16_t port, bool is_allowed);

/** verdict_ztunnels() - of now: ztunnel has each one. */
void verdict_ztunnels(uint16_t port);

/** refused_of() - Return: how often connect(2) was refused at @endpoint of the server's by a known
 * denial, when @asked was asked for. */
uint64_t refused_of(const char *endpoint, const char *asked);

/** serve() - a listening socket in the second pod. */
int serve(int family, const char *on);

/** frontend_set() - of a service with these endpoints, of one weight. */
void frontend_set(const char *frontend, uint32_t count, const char *const ends[]);

/** frontend_one() - of a service with one endpoint. */
void frontend_one(const char *frontend, const char *end);

/** frontend_part() - of a service of which @end is one part of @weight, and the rest is
 * elsewhere. */
void frontend_part(const char *frontend, const char *end, uint32_t weight);

/** talk_to_the_end() - a direct connection that is open carries these bytes, either way, and is
 * closed by its server first; then it is in no map. */
#define SENT     3000
#define RECEIVED 5000
void talk_to_the_end(int client, int server);

/** reset() - close it, the peer gets an RST. */
void reset(int fd);

/** check_tunnelled() - a connection of the pod's comes to ztunnel. */
void check_tunnelled(int family, const char *to);
