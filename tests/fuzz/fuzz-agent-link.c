/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-agent-link - what an agent may send to its ztunnel. */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "ztunnel/agent_link.h"
#include "ztunnel/pod.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(struct zds_pod_add) uint8_t message[ZDS_MAX_MESSAGE];
	struct zds_pod_add m;
	struct pod *pod = NULL;
	int fds[ZDS_LISTENERS];

	if (size == 0 || size - 1 > sizeof(message))
		return 0;
	memcpy(message, data + 1, size - 1); /* aligned, as the link's own buffer is */
	(void)!agent_link_check(message, size - 1, data[0] % (ZDS_MAX_FDS + 1));
	memset(&m, data[0], sizeof(m));
	memcpy(&m, data + 1, size - 1 < sizeof(m) ? size - 1 : sizeof(m));
	for (int i = 0; i < ZDS_LISTENERS; i++)
		fds[i] = -1;
	if (pod_new(&m, fds, &pod) == 0)
		pod_unref(pod);
	return 0;
}
