/* SPDX-License-Identifier: Apache-2.0 */
/* cni_server - a plugin is answered, if not at once then when there is a descriptor; root only. */
#include "userspace/agent/cni_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "net/seqpacket.h"
#include "tests/unit/agent/no-fds.h"

struct fixture {
	struct loop *loop;
	struct cni_server *server;
	char dir[40], path[64];
};

static void on_request(void *arg, const struct cni_request *request, int netns_fd,
		       uint64_t waited_us, struct cni_reply *ret)
{
	assert_string_equal(request->pod, "web");
	ret->verdict = CNI_OUTSIDE;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct cni_server_config config = {.on_request = on_request, .arg = f};

	log_set_level(LOG_OFF);
	*state = f;
	(void)str_copy(f->dir, sizeof(f->dir), "/tmp/culvert-cni-server-XXXXXX");
	if (!mkdtemp(f->dir) || loop_new(&f->loop) < 0)
		return -1;
	config.loop = f->loop;
	config.dir = f->dir;
	(void)snprintf(f->path, sizeof(f->path), "%s/" CNI_SOCKET_NAME, f->dir);
	return cni_server_new(&config, &f->server);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	cni_server_free(f->server);
	loop_free(f->loop);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static int ask(struct fixture *f)
{
	struct cni_request q = {
		.protocol = CNI_PROTOCOL, .verb = CNI_CHECK, .namespace_ = "demo", .pod = "web"};
	int fd = -1;

	if (geteuid() != 0)
		skip();
	assert_int_equal(seqpacket_connect(f->path, &fd), 0);
	assert_int_equal(seqpacket_send(fd, &q, sizeof(q), NULL, 0), 0);
	return fd;
}

static void assert_answer(struct fixture *f, int fd)
{
	struct cni_reply reply = {0};
	ssize_t len = -1;
	size_t n = 0;

	for (int i = 0; i < 300 && len < 0; i++) {
		assert_true(loop_run_once(f->loop, 10) >= 0);
		len = seqpacket_recv(fd, &reply, sizeof(reply), NULL, 0, &n);
	}
	assert_int_equal(len, sizeof(reply));
	assert_int_equal(reply.verdict, CNI_OUTSIDE);
	(void)close(fd);
}

static void a_question_has_its_answer(void **state)
{
	struct fixture *f = *state;

	assert_answer(f, ask(f));
}

static void without_descriptors_the_loop_does_not_spin(void **state)
{
	struct fixture *f = *state;
	int fd = ask(f);

	assert_in_range(turns_without_fds(f->loop), 1, 100);
	assert_answer(f, fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_question_has_its_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(without_descriptors_the_loop_does_not_spin, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
