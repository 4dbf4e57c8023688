/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* reroute_rules - how the namespace that the process is in now routes what cv_reroute has marked:
 * rules for IPv4 and IPv6 that look at the mark and the interface alone, and a table of their own.
 * Thread: any; blocks until the kernel has answered. */
#include <net/if.h>
#include <stddef.h>

#include "base/macros.h"

/** reroute_rules_put() - for what comes in from the interface of this name, whether it is there or
 * not. Again: what is missing. Without IPv6 there, for IPv4. Return: 0; -errno. */
_must_check_ int reroute_rules_put(const char *name);

/** reroute_rules_keep() - take away the rules of other interfaces; with none left, the table. */
void reroute_rules_keep(const char names[][IF_NAMESIZE], size_t n);
