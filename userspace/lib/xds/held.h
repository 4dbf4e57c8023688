/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* held - what a client that comes back says that it holds: name -> version. Owner: xds/server. */
#include "base/macros.h"
#include "base/map.h"
#include "userspace/lib/xds/discovery.pb-c.h"

/** held_read() - initial_resource_versions of a first request; of a name that is there twice the
 * first counts. Return: 0; -ENOMEM, @ret then holds what there was memory for. */
_must_check_ int held_read(const Envoy__Service__Discovery__V3__DeltaDiscoveryRequest *req,
			   struct map **ret);
/** held_free() - and set to NULL, which it may be. */
void held_free(struct map **held);
