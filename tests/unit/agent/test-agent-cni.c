/* SPDX-License-Identifier: Apache-2.0 */
/* agent_cni - an agent that serves no plugin leaves none on the node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/str.h"
#include "userspace/agent/agent_private.h"

#define CHAINED                                                                                    \
	"{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"plugins\":[{\"type\":\"bridge\"},"             \
	"{\"type\":\"culvert-cni\"}]}"

static int setup(void **state)
{
	char *dir = strdup("/tmp/culvert-agent-cni-XXXXXX");

	log_set_level(LOG_OFF);
	*state = dir;
	return dir && mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	int r = rmdir(*state);

	free(*state);
	return r;
}

static void put(const char *dir)
{
	_cleanup_(freep) char *program = str_format("%s/culvert-cni", dir);
	_cleanup_(freep) char *conf = str_format("%s/10-x.conflist", dir);

	assert_int_equal(file_write_atomic(program, "", 0, 0755), 0);
	assert_int_equal(file_write_atomic(conf, CHAINED, strlen(CHAINED), 0600), 0);
}

static void assert_gone(const char *dir)
{
	_cleanup_(freep) char *program = str_format("%s/culvert-cni", dir);
	_cleanup_(freep) char *conf = str_format("%s/10-x.conflist", dir), *text = NULL;

	assert_int_equal(access(program, F_OK), -1);
	assert_int_equal(file_read(conf, 4096, &text, NULL), 0);
	assert_non_null(strstr(text, "bridge"));
	assert_null(strstr(text, "culvert-cni"));
	assert_int_equal(unlink(conf), 0);
}

/* Nobody would answer it, and no pod of the node would start any more. */
static void one_that_was_put_there_before_goes(void **state)
{
	const struct agent_options o = {.cni_bin_dir = *state, .cni_conf_dir = *state};
	struct agent a = {0};

	put(*state);
	assert_int_equal(agent_cni_start(&a, &o), 0);
	assert_gone(*state);
	assert_null(agent_cni_error(&a)); /* it is as it should be */
}

/* And before the pods have left the mesh, for which there may be no time. */
static void with_the_last_agent_it_goes_first(void **state)
{
	struct agent a = {.cni.dirs = {.bin = *state, .conf = *state}};
	struct agent none = {0};

	put(*state);
	agent_cni_leave(&a);
	assert_gone(*state);
	assert_null(agent_cni_error(&a)); /* for which ztunnel's end would not wait */
	agent_cni_leave(&none);
}

static void where_there_was_none_nothing_is_missed(void **state)
{
	const struct agent_options o = {.cni_bin_dir = "/nonexistent",
					.cni_conf_dir = "/nonexistent"};
	const struct agent_options none = {0};
	struct agent a = {0};

	assert_int_equal(agent_cni_start(&a, &o), 0);
	assert_int_equal(agent_cni_start(&a, &none), 0);
	assert_null(agent_cni_error(&a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_was_put_there_before_goes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(with_the_last_agent_it_goes_first, setup, teardown),
		cmocka_unit_test(where_there_was_none_nothing_is_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
