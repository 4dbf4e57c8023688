/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* decode - xDS resources into the objects of a snapshot. Bytes from the control plane are checked
 * here, once. */
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/macros.h"

struct policy;
struct service_def;
struct workload;

/** struct decoded_address - one of the two is set. */
struct decoded_address {
	struct workload *workload;
	struct service_def *service;
};

struct decode_tables; /* opaque: what decoded workloads share. Main loop */

/** decode_tables_new() - @network: ours; addresses of other networks are left out. Return: 0;
 * -ENOMEM. */
_must_check_ int decode_tables_new(const char *network, struct decode_tables **ret);
/** decode_tables_free() - what was decoded lives on. Takes NULL. Return: NULL. */
struct decode_tables *decode_tables_free(struct decode_tables *t);
DEFINE_CLEANUP(struct decode_tables *, decode_tables_free);

/**
 * decode_address() - istio.workload.Address
 * @ret: one reference, the caller's.
 * @err: on failure a sentence that names the field.
 * Return: 0; -EBADMSG not decodable; -EINVAL a field; -ENOMEM.
 */
_must_check_ int decode_address(struct decode_tables *t, const void *packed, size_t len,
				struct decoded_address *ret, char *err, size_t err_size);

/**
 * decode_policy() - istio.security.Authorization. What cannot be understood becomes a policy that
 * denies everything in its scope; where that cannot be read, or it calls itself otherwise than
 * @name, in the whole mesh, for it may be the mesh's own. So nothing is let through by mistake. One
 * that can be unpacked and calls itself a dry run stays one.
 * @name: resource name, "namespace/name".
 * @ret:  always set on 0, -EBADMSG and -EINVAL: one reference, the caller's.
 * Return: 0; -EBADMSG, -EINVAL: @ret denies, @err says why; -ENOMEM.
 */
_must_check_ int decode_policy(const char *name, const void *packed, size_t len,
			       struct policy **ret, char *err, size_t err_size);
