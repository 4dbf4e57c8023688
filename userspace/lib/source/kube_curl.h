/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_curl - what a libcurl handle needs to speak to an API server, for kube_client and for those
 * that speak over one connection of their own. No state. */
#include <curl/curl.h>

#include "base/macros.h"
#include "source/kube_config.h"

/** kube_curl_trust() - whom @easy trusts, and the certificate that it shows. */
void kube_curl_trust(CURL *easy, const struct kube_config *config);

/**
 * kube_curl_token() - "Authorization: Bearer ..."
 * @ret: the caller's to wipe and free; NULL: there is no token.
 * Return: 0; -ENOMEM.
 */
_must_check_ int kube_curl_token(const struct kube_config *config, char **ret);
