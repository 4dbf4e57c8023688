/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* files_limit - how many descriptors this process may have. No state of its own. */
#include <stdint.h>

/** files_limit_raise() - to @wanted, or as near to it as we may. Return: what it is now; 0:
 * unknown. */
uint64_t files_limit_raise(uint64_t wanted);
