/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* beside - the other programs that are installed with this one. No state. */
#include "base/macros.h"

/** beside_path() - of @name in the folder of the running program. @ret: the caller's to free.
 * Return: 0; -ENOMEM; -errno of readlink(2). */
_must_check_ int beside_path(const char *name, char **ret);
