/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* files_limit - how many descriptors this process may have, and has room for. No state of its own.
 */
#include <stdint.h>

/** files_limit_raise() - to @wanted, or as near to it as we may. Return: what it is now; 0:
 * unknown. */
uint64_t files_limit_raise(uint64_t wanted);
/** files_table_grow() - make room for @wanted descriptors in the kernel's table of this process, as
 * far as the limit goes. Once, before threads start: with threads the kernel waits for an RCU grace
 * period, tens of milliseconds, each time that the table has to grow, and until then no thread gets
 * a descriptor (expand_fdtable() in Linux's fs/file.c). 8 bytes of kernel memory each. Where it
 * fails the table grows later. */
void files_table_grow(uint64_t wanted);
