/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-cluster - what decides who somebody is in a cluster: a TokenReview's answer, and the text of
 * /proc/PID/cgroup. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "userspace/agent/procs.h"
#include "userspace/control/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char uid[PROCS_UID_MAX];
	struct caller caller;
	char *text = strndup((const char *)data, size);

	if (!text)
		return 0;
	(void)!gate_caller_read(text, strlen(text), &caller);
	(void)!procs_uid_of_cgroup(text, uid);
	free(text);
	return 0;
}
