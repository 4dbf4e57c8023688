/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/types.h"

#include <string.h>

static const char *const urls[XDS_TYPE_MAX] = {
	[XDS_ADDRESS] = "type.googleapis.com/istio.workload.Address",
	[XDS_AUTHORIZATION] = "type.googleapis.com/istio.security.Authorization",
	[XDS_NODE] = "type.googleapis.com/culvert.node.Node",
	[XDS_NODE_CONFIG] = "type.googleapis.com/culvert.node.Config",
};

const char *xds_type_url(enum xds_type type)
{
	return urls[type];
}

enum xds_type xds_type_from_url(const char *url)
{
	for (int i = 0; i < XDS_TYPE_MAX; i++)
		if (streq(urls[i], url))
			return (enum xds_type)i;
	return XDS_TYPE_INVALID;
}
