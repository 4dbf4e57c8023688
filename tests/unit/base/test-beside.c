/* SPDX-License-Identifier: Apache-2.0 */
/* beside - programs of the folder that the running one is in, whatever it was called by. */
#include "base/beside.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"

static void it_is_in_the_folder_of_the_program_itself(void **state)
{
	_cleanup_(freep) char *itself = realpath(program_invocation_name, NULL);
	_cleanup_(freep) char *path = NULL;

	assert_non_null(itself);
	/* the folder of the process is another */
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(beside_path("test-beside", &path), 0);
	assert_string_equal(path, itself);
	assert_int_equal(access(path, X_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_in_the_folder_of_the_program_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
