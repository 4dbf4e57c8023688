/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* decode - xDS resources into the objects of a snapshot. Bytes from the control plane are checked
 * here, once. No state. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct policy;
struct service_def;
struct workload;

/** struct decoded_address - one of the two is set. */
struct decoded_address {
	struct workload *workload;
	struct service_def *service;
};

/**
 * decode_address() - istio.workload.Address
 * @network: ours; addresses of other networks are left out.
 * @ret:     one reference, the caller's.
 * @err:     on failure a sentence that names the field.
 * Return: 0; -EBADMSG not decodable; -EINVAL a field; -ENOMEM.
 */
_must_check_ int decode_address(const void *packed, size_t len, const char *network,
				struct decoded_address *ret, char *err, size_t err_size);

/**
 * decode_policy() - istio.security.Authorization. What cannot be understood becomes a policy that
 * denies everything in its scope (a scope that is not understood: its namespace), so that nothing
 * is let through by mistake.
 * @name: resource name, "namespace/name".
 * @ret:  always set on 0, -EBADMSG and -EINVAL: one reference, the caller's.
 * Return: 0; -EBADMSG, -EINVAL: @ret denies, @err says why; -ENOMEM.
 */
_must_check_ int decode_policy(const char *name, const void *packed, size_t len,
			       struct policy **ret, char *err, size_t err_size);
