/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* resolvconf - what a pod's resolv.conf says. A file that a pod writes: bounded, any content is
 * harmless. */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/zds.h"

#define RESOLVCONF_SEARCH_LEN 512

struct resolvconf {
	/* Names, NUL-separated, the rest zero; names that do not fit are left out. The last
	 * `search` or `domain` line counts, as in resolv.conf(5). */
	char search[RESOLVCONF_SEARCH_LEN];
	/* The first that are addresses. One with a zone ("%eth0") the pod asks itself. */
	struct cv_addr nameservers[ZDS_NAMESERVERS];
	uint32_t nameserver_count;
};

/** resolvconf_parse() - @text: the file; borrowed. */
void resolvconf_parse(const char *text, struct resolvconf *ret);

/** resolvconf_read() - the same for a file. All zero when it cannot be read. Return: 0; -errno. */
int resolvconf_read(const char *path, struct resolvconf *ret);
