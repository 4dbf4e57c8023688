/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/buf.h"
#include "ztunnel/node_internal.h"

/* Istio's ztunnel has one proxy for each pod; ours serves a pod when all workers watch it. */
int node_metrics(void *arg, struct buf *into)
{
	const struct node *n = arg;
	size_t active = 0, pending = 0;

	map_for_each (n->pods, it) {
		const struct node_pod *np = it.value;

		if (np->pending > 0)
			pending++;
		else if (np->error == 0)
			active++;
	}
	return buf_printf(
		into,
		"# HELP workload_manager_active_proxy_count The total number current workloads "
		"with active proxies (unstable).\n"
		"# TYPE workload_manager_active_proxy_count gauge\n"
		"workload_manager_active_proxy_count %zu\n"
		"# HELP workload_manager_pending_proxy_count The total number current workloads "
		"with pending proxies (unstable).\n"
		"# TYPE workload_manager_pending_proxy_count gauge\n"
		"workload_manager_pending_proxy_count %zu\n"
		"# HELP workload_manager_proxies_started The total number of proxies that were "
		"started (unstable).\n# TYPE workload_manager_proxies_started counter\n"
		"workload_manager_proxies_started_total %" PRIu64 "\n"
		"# HELP workload_manager_proxies_stopped The total number of proxies that were "
		"stopped (unstable).\n# TYPE workload_manager_proxies_stopped counter\n"
		"workload_manager_proxies_stopped_total %" PRIu64 "\n",
		active, pending, n->pods_started, n->pods_stopped);
}
