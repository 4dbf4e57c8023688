/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* pod_ranges - what addresses pods have where Nodes do not say it (spec.podCIDRs), as networks with
 * pools of their own leave it. Nodes are told of it as of one more Node, and know by it which
 * address may be a new pod's while nobody tells of new ones. Owner: control. One thread. */
#include "base/cleanup.h"
#include "base/macros.h"
#include "problems.h"
#include "source/object.h"
#include "xds/server.h"

struct pod_ranges; /* opaque */

/** pod_ranges_check() - @list: "10.0.0.0/8,fd00::/8"; NULL and "": none. @err: a sentence that
 * names the bad one. Return: 0; -EINVAL; -ENOMEM. */
_must_check_ int pod_ranges_check(const char *list, char *err, size_t err_size);

/** pod_ranges_new() - @list: as checked; borrowed. @problems: borrowed; there it stands when nobody
 * says it; NULL: nowhere. Return: 0; -ENOMEM. */
_must_check_ int pod_ranges_new(const char *list, struct problems *problems,
				struct pod_ranges **ret);
struct pod_ranges *pod_ranges_free(struct pod_ranges *p);
DEFINE_CLEANUP(struct pod_ranges *, pod_ranges_free);

/** pod_ranges_tell() - what was given goes to all nodes. Return: 0; -ENOMEM. */
_must_check_ int pod_ranges_tell(const struct pod_ranges *p, struct xds_server *xds);

/** pod_ranges_put() - a Node came or changed; objects of other kinds are passed over. */
void pod_ranges_put(struct pod_ranges *p, const struct object *obj);
/** pod_ranges_delete() - it went. */
void pod_ranges_delete(struct pod_ranges *p, const struct object *obj);
/** pod_ranges_settle() - all Nodes are known: does one of them, or the option, say it? */
void pod_ranges_settle(struct pod_ranges *p);
