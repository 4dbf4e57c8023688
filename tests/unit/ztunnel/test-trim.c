/* SPDX-License-Identifier: Apache-2.0 */
/* trim - what the start had mapped goes, and everything still works. */
#include "ztunnel/trim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/worker.h"

#define TURNS 1000

/* resident_kb() - of the code and constants of every library. */
static unsigned long resident_kb(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long kb, sum = 0;
	bool is_library = false;
	char line[512], mode[5];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*x-%*x %4s", mode) == 1)
			is_library = strstr(line, ".so") && mode[1] == '-';
		else if (is_library && sscanf(line, "Rss: %lu", &kb) == 1)
			sum += kb;
	}
	(void)fclose(f);
	return sum;
}

static void digest(uint8_t ret[EVP_MAX_MD_SIZE])
{
	assert_int_equal(EVP_Digest("abc", 3, ret, NULL, EVP_sha256(), NULL), 1);
}

TEST(start_up_code_goes_and_comes_back)
{
	uint8_t before[EVP_MAX_MD_SIZE] = {0}, after[EVP_MAX_MD_SIZE] = {0};
	struct trim t = {0};
	struct loop *loop = NULL;
	unsigned long kb;

	digest(before);
	kb = resident_kb();
	assert_int_equal(loop_new(&loop), 0);
	trim_start(&t, loop, NULL, 0);
	for (int i = 0; i < TURNS && resident_kb() >= kb; i++)
		assert_int_equal(loop_run_once(loop, 20), 0);
	assert_true(resident_kb() < kb);
	digest(after);
	assert_memory_equal(before, after, sizeof(before));
	loop_timer_del(&t.timer);
	(void)loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(start_up_code_goes_and_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
