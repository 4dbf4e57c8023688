/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-zds - what a ztunnel may send to its agent. */
#include "tests/fuzz/fuzz.h"
#include "userspace/agent/zds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 0)
		(void)!zds_check(data + 1, size - 1, data[0] % 4);
	return 0;
}
