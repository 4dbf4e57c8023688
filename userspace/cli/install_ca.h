/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* install_ca - would a control plane that starts now sign with a CA that nodes do not trust? */
#include "base/macros.h"
#include "kube.h"

/**
 * install_check_ca() - Secret cacerts that has come since the running control planes started: one
 * that starts takes it, and whoever has its certificates is refused by nodes that know the other's
 * root only
 * What may not be read, or holds no certificate, is for others to tell.
 * Return: 0; 1, said on stderr.
 */
_must_check_ int install_check_ca(struct kube *k);
