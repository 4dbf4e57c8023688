/* SPDX-License-Identifier: Apache-2.0 */
/* agent - nobody at the socket, or the wrong one; and how long that may be so. */
#include "userspace/cni/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "net/seqpacket.h"

#define NOBODY 65534

static char dir[64], path_socket[96], path_outside[96], path_away[96];

static int folder_make(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/test-cni-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path_socket, sizeof(path_socket), "%s/agent.sock", dir);
	(void)snprintf(path_outside, sizeof(path_outside), "%s/" CNI_OUTSIDE_NAME, dir);
	(void)snprintf(path_away, sizeof(path_away), "%s/" CNI_AWAY_NAME, dir);
	return 0;
}

static int folder_remove(void **state)
{
	(void)unlink(path_outside);
	(void)unlink(path_away);
	(void)unlink(path_socket);
	return rmdir(dir);
}

static void write_text(const char *path, const char *text, unsigned int mode)
{
	assert_int_equal(file_write_atomic(path, text, strlen(text), mode), 0);
}

static void nobody_at_the_socket_is_away(void **state)
{
	struct cni_request request = {.protocol = CNI_PROTOCOL, .verb = CNI_ADD};
	struct cni_reply reply;

	assert_int_equal(agent_ask(NULL, path_socket, &request, NULL, &reply), -ENOTCONN);
	assert_int_equal(agent_ask(NULL, path_socket, &request, "/nowhere", &reply), -ENOENT);
}

/* An agent that takes @count questions and ends over each, and then one that answers. */
static void agents_run(unsigned int count)
{
	struct cni_reply reply = {.protocol = CNI_PROTOCOL, .verdict = CNI_CAPTURED};
	struct cni_request request;
	int fd = -EBADF, client;
	size_t n = 0;

	for (unsigned int i = 0; i <= count; i++) {
		if (seqpacket_listen(path_socket, 0600, &fd) < 0 ||
		    fcntl(fd, F_SETFL, 0) < 0) /* accept4() is to wait */
			_exit(EXIT_FAILURE);
		client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		(void)!seqpacket_recv(client, &request, sizeof(request), NULL, 0, &n);
		if (i == count)
			(void)!seqpacket_send(client, &reply, sizeof(reply), NULL, 0);
		(void)close(client);
		(void)close(fd);
		(void)unlink(path_socket);
	}
	_exit(EXIT_SUCCESS);
}

static int ask_of_agents(enum cni_verb verb, unsigned int count)
{
	struct cni_request request = {.protocol = CNI_PROTOCOL, .verb = verb};
	struct cni_reply reply;
	pid_t pid = fork();
	int r;

	if (pid == 0)
		agents_run(count);
	while (access(path_socket, F_OK) < 0)
		(void)usleep(1000);
	(void)usleep(20000); /* from bind(2) to listen(2) */
	r = agent_ask(NULL, path_socket, &request, NULL, &reply);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return r;
}

/* It was replaced, and the pod's start need not fail over that. */
static void who_ends_over_the_question_has_another_after_it(void **state)
{
	if (geteuid() != 0)
		skip();
	assert_int_equal(ask_of_agents(CNI_ADD, 1), 0);
	assert_int_equal(ask_of_agents(CNI_ADD, 2), -ENOTCONN);
	assert_int_equal(ask_of_agents(CNI_DEL, 1), -ENOTCONN);
}

/* Whose word lets a pod start without capture is root's alone. */
static void another_users_socket_is_not_asked(void **state)
{
	struct cni_request request = {.protocol = CNI_PROTOCOL, .verb = CNI_ADD};
	bool is_root = geteuid() == 0;
	int fd = -EBADF, r;

	assert_int_equal(chmod(dir, 0777), 0);
	if (is_root)
		assert_int_equal(seteuid(NOBODY), 0);
	r = seqpacket_listen(path_socket, 0666, &fd);
	if (is_root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, 0);
	assert_int_equal(agent_ask(NULL, path_socket, &request, NULL, NULL), -EPERM);
	(void)close_fd(fd);
}

static void only_a_long_absence_lets_go_and_only_what_was_outside(void **state)
{
	if (geteuid() != 0)
		skip(); /* what is not root's does not count */
	write_text(path_outside, "shop\nshop-2\n", 0600);
	assert_false(agent_is_let_go(NULL, path_socket, 300, "shop"));
	assert_int_equal(access(path_away, F_OK), 0);
	assert_false(agent_is_let_go(NULL, path_socket, 300, "shop"));
	write_text(path_away, "1", 0600); /* a microsecond after boot */
	assert_true(agent_is_let_go(NULL, path_socket, 1, "shop"));
	assert_true(agent_is_let_go(NULL, path_socket, 1, "shop-2"));
	assert_false(agent_is_let_go(NULL, path_socket, 1, "sho"));
	assert_false(agent_is_let_go(NULL, path_socket, 1, "demo"));
	assert_false(agent_is_let_go(NULL, path_socket, 1, ""));
}

static void what_others_could_have_written_does_not_count(void **state)
{
	if (geteuid() != 0)
		skip();
	write_text(path_outside, "shop\n", 0622);
	write_text(path_away, "1", 0600);
	assert_false(agent_is_let_go(NULL, path_socket, 1, "shop"));
	write_text(path_outside, "shop\n", 0600);
	write_text(path_away, "18446744073709551615", 0600); /* of another boot: begins again */
	assert_false(agent_is_let_go(NULL, path_socket, 1, "shop"));
	write_text(path_away, "", 0600);
	assert_false(agent_is_let_go(NULL, path_socket, 1, "shop"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nobody_at_the_socket_is_away, folder_make,
						folder_remove),
		cmocka_unit_test_setup_teardown(who_ends_over_the_question_has_another_after_it,
						folder_make, folder_remove),
		cmocka_unit_test_setup_teardown(another_users_socket_is_not_asked, folder_make,
						folder_remove),
		cmocka_unit_test_setup_teardown(
			only_a_long_absence_lets_go_and_only_what_was_outside, folder_make,
			folder_remove),
		cmocka_unit_test_setup_teardown(what_others_could_have_written_does_not_count,
						folder_make, folder_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
