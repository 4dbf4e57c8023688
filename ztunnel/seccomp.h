/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* seccomp - the system calls that ztunnel needs, and no others. */
#include <stdbool.h>

#include "base/macros.h"

/**
 * seccomp_apply() - confine this process for good: no exec, no files by path but those below, no
 * namespaces, no BPF, no ptrace. A call that is not on the list fails with EPERM. Call once all
 * files are open and before threads start; they inherit it. @has_remote_control: network sockets
 * may be made, to reach a control plane on another machine. Return: 0; -errno.
 */
_must_check_ int seccomp_apply(bool has_remote_control);
