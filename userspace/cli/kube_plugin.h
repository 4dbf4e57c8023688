/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_plugin - credentials from a program that a kubeconfig names: `aws eks get-token` and its
 * kin, client.authentication.k8s.io. Blocking; the program may ask its user on the terminal. */
#include <stddef.h>

#include "base/macros.h"
#include "source/kube_config.h"

/**
 * kube_plugin_run() - run @config->exec and fill in token or certificate
 * @err: a sentence on failure: what the program is and what it lacks.
 * Return: 0; -errno of starting it; -EPERM it failed; -EBADMSG it gave no credentials; -ENOMEM.
 */
_must_check_ int kube_plugin_run(struct kube_config *config, char *err, size_t err_size);

/** kube_plugin_read() - what such a program printed, into @config. Return: 0; -EBADMSG; -ENOMEM. */
_must_check_ int kube_plugin_read(const char *text, struct kube_config *config);
