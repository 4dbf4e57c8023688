/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* client_id - what the processes of a node are called towards a control plane. In Istio's form,
 * type~address~name.namespace~domain: any other id is refused by istiod, and so is another
 * namespace than the token's. Of the types that istiod knows ztunnel alone is sent workloads, so
 * that the agent says it is one, too; its name tells it from ztunnel. */
#include <stdbool.h>

#include "base/str.h"

#define CLIENT_ID_START "ztunnel~127.0.0.1~"
#define CLIENT_ID_END   ".istio-system~istio-system.svc.cluster.local"
#define CLIENT_ID_AGENT CLIENT_ID_START "culvert-agent-"

/* For printf, with the node's name. */
#define CLIENT_ID_ZTUNNEL_FORMAT CLIENT_ID_START "ztunnel-%s" CLIENT_ID_END
#define CLIENT_ID_AGENT_FORMAT   CLIENT_ID_AGENT "%s" CLIENT_ID_END

/** client_id_is_agent() - also those of before, "agent~NODE". */
static inline bool client_id_is_agent(const char *id)
{
	return str_has_prefix(id, CLIENT_ID_AGENT) || str_has_prefix(id, "agent~");
}
