/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* resolvconf - the search list of a pod's resolv.conf. A file that a pod writes: bounded, any
 * content is harmless. */
#include <stddef.h>

#include "base/macros.h"

#define RESOLVCONF_SEARCH_LEN 512

/**
 * resolvconf_search() - the search names of a resolv.conf
 * @text: the file; borrowed.
 * @ret:  names, NUL-separated, the rest zero; names that do not fit are left out. The last `search`
 * or `domain` line counts, as in resolv.conf(5).
 */
void resolvconf_search(const char *text, char ret[RESOLVCONF_SEARCH_LEN]);

/** resolvconf_read() - the same for a file. All zero when it cannot be read. Return: 0; -errno. */
int resolvconf_read(const char *path, char ret[RESOLVCONF_SEARCH_LEN]);
