/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* domains - the names of our trust domain in policies. For the files of this folder only. */
#include "model/impl.h"
#include "userspace/lib/xds/authorization.pb-c.h"

/** domains_expand() - each principal of our trust domain under each of its names. @a: its error
 * says whether there was memory. */
void domains_expand(const struct model *m, Istio__Security__Authorization *z, struct scratch *a);
void domains_free(struct model *m);
