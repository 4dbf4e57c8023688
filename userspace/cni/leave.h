/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* leave - the plugin takes itself away, by hand, where no agent is left to do it. */
#include "base/macros.h"

/** leave() - out of the network configurations in the folder @conf, then the running program out of
 * its own; says on standard output what it did, on standard error what it could not. Return: the
 * exit code. */
_must_check_ int leave(const char *conf);
