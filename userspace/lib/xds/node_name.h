/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* node_name - what a client of xDS says of its node. No state. */
#include "userspace/lib/xds/discovery.pb-c.h"

/** node_name_of() - the metadata field NODE_NAME. @node: may be NULL. Return: borrowed; NULL: it
 * has none, or one that is no string. */
const char *node_name_of(const Envoy__Service__Discovery__V3__Node *node);
