/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz-http - what somebody may send to the admin, metrics and readiness ports; cut in two where
 * the first byte says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/server.h"
#include "tests/fuzz/fuzz.h"

#define TURNS 3

static struct loop *loop;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len = sizeof(sa_family_t);

static void on_request(const struct http_request *req, struct http_response *resp, void *arg)
{
	char value[64];

	if (strlen(req->method) + strlen(req->path) > 65536)
		abort();
	(void)!http_query_get(req->query, "level", value, sizeof(value));
	if (http_accept_quality(req->accept, "text/plain") > 1000)
		abort();
	(void)!buf_append_str(&resp->body, "ok");
}

/* One server for all runs, at an abstract address of the kernel's choice. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct http_server *server;

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, address_len) < 0 || listen(fd, 16) < 0)
		abort();
	address_len = sizeof(address);
	if (getsockname(fd, (struct sockaddr *)&address, &address_len) < 0)
		abort();
	if (loop_new(&loop) < 0 || http_server_new(loop, fd, on_request, NULL, &server) < 0)
		abort();
	return 0;
}

/* some_turns() - let the server take what is there. */
static void some_turns(void)
{
	for (int i = 0; i < TURNS; i++)
		(void)!loop_run_once(loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	size_t cut;

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, address_len) < 0)
		abort();
	if (size > 1) {
		cut = 1 + data[0] * (size - 1) / 256;
		(void)!send(fd, data + 1, cut - 1, MSG_NOSIGNAL);
		some_turns();
		(void)!send(fd, data + cut, size - cut, MSG_NOSIGNAL);
	}
	some_turns();
	(void)close(fd);
	some_turns();
	return 0;
}
