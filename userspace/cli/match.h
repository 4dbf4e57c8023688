/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* match - is this pod or service the one that was named on the command line? */
#include <stdbool.h>

/** match_pod() - @wanted: NAME, NAMESPACE/NAME or NAME.NAMESPACE, of the pod or of what has made
 * it, as Kubernetes lengthens that: web-7d9f8b6c5d-x2x4z (Deployment), web-x2x4z, web-0. */
bool match_pod(const char *wanted, const char *namespace_, const char *name);
/** match_service() - @key: "namespace/host.name", or ""; @wanted: all of it, or the first labels of
 * the host name: web, web.shop, web.shop.svc.cluster.local. */
bool match_service(const char *wanted, const char *key);
