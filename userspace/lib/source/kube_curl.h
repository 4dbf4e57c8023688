/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* kube_curl - what a libcurl handle needs to speak to an API server, for kube_client and for those
 * that speak over one connection of their own. No state. */
#include <curl/curl.h>

#include "base/macros.h"
#include "source/kube_config.h"

/** kube_curl_trust() - whom @easy trusts, and the certificate that it shows. */
void kube_curl_trust(CURL *easy, const struct kube_config *config);

/** kube_curl_proxy() - by whom @easy goes, if by anybody. */
void kube_curl_proxy(CURL *easy, const struct kube_config *config);

/**
 * kube_curl_token() - "Authorization: Bearer ..."
 * @ret: the caller's to wipe and free; NULL: there is no token.
 * Return: 0; -ENOMEM.
 */
_must_check_ int kube_curl_token(const struct kube_config *config, char **ret);

/** kube_curl_host() - "10.96.0.1:443" of the server's URL. @ret: where it begins, borrowed. Return:
 * its length. */
int kube_curl_host(const struct kube_config *config, const char **ret);

/**
 * kube_curl_route() - the URL of a request, and where the connection goes when the server's
 * certificate has another name (tls-server-name)
 * @path: of the server, "" or with a slash.
 * @ret: the caller's to free with curl_slist_free_all() when @easy is done; NULL: the URL says it
 * all, and whom the request is for.
 * Return: 0; -ENOMEM.
 */
_must_check_ int kube_curl_route(CURL *easy, const struct kube_config *config, const char *path,
				 struct curl_slist **ret);
