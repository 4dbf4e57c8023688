/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* direct - connections between two pods of this node: what policy says of them, before they are
 * made and, of those without a tunnel, while they are open; metrics and log lines of these. Thread:
 * the main loop. */
#include <stdint.h>

#include "culvert/zds.h"

struct pod;
struct state;
struct telemetry;
struct workload;

/**
 * direct_judge() - may @src connect to @dst? A denial holds for tunnels, too.
 * @s, @src, @dst: NULL while unknown.
 * @to: the address and port of @dst.
 * Return: enum zds_verdict_kind. ZTUNNELS where anything but the L4 policy has a say (a waypoint, a
 * policy that looks at addresses); NONE where not all is known yet.
 */
uint32_t direct_judge(const struct state *s, const struct pod *src, const struct pod *dst,
		      const struct cv_sockaddr *to);

/**
 * direct_judge_open() - may a connection without a tunnel stay open?
 * @s, @src, @dst: NULL while unknown.
 * @ask: of it, `dst`, `src` and `open`.
 * @ret_of_src: 1 when the answer says nothing of connections to come. Always set.
 * As a tunnelled one it is judged with the identity that it was opened with, whatever else has a
 * say of new ones by now: of a pod that no workload is known of, the one of its account. Where its
 * pod has left the mesh it is plaintext from outside, too: what refuses that outright (STRICT) ends
 * it.
 * Return: enum zds_verdict_kind. NONE: nothing is known of @src or of @dst's policies.
 */
uint32_t direct_judge_open(const struct state *s, const struct pod *src, const struct pod *dst,
			   const struct zds_verdict *ask, uint32_t *ret_of_src);

/**
 * direct_judge_plaintext() - may anyone connect to @dst without an identity?
 * @s, @dst: NULL while unknown.
 * @from: who came; any address: nobody in particular.
 * @ret_of_src: 1 when the answer is about @from's address only. Always set.
 * Return: enum zds_verdict_kind. NONE where each connection is to be judged, or logged.
 */
uint32_t direct_judge_plaintext(const struct state *s, const struct pod *dst,
				const struct cv_sockaddr *to, const struct cv_addr *from,
				uint32_t *ret_of_src);

/** struct direct_news - what the agent tells of a connection. All borrowed. */
struct direct_news {
	const struct zds_direct *m;
	const struct workload *src, *dst; /* NULL: unknown labels */
	uint64_t now_us;                  /* CLOCK_MONOTONIC */
};

/** direct_report() - count and log it as both ends would. */
void direct_report(struct telemetry *t, const struct state *s, const struct direct_news *news);
