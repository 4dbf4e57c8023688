/* SPDX-License-Identifier: Apache-2.0 */
/* grpc - a server that has answered before it has heard all, as a client by hand sees it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "base/str.h"
#include "http/grpc.h"

static void refuse_open(struct grpc_call *c, const struct grpc_peer *peer, void *arg)
{
	grpc_call_finish(c, GRPC_UNAUTHENTICATED, NULL);
}

static const struct grpc_method refusing = {"/test.Echo/Refuse", 16, refuse_open, NULL};

/** struct seen - what a client that says all but the end of its request is told. */
struct seen {
	bool is_answered, is_reset_after;
	uint32_t code;
};

static int on_frame_seen(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
	struct seen *s = arg;

	if (frame->hd.type == NGHTTP2_HEADERS && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
		s->is_answered = true;
	if (frame->hd.type == NGHTTP2_RST_STREAM) {
		s->is_reset_after = s->is_answered;
		s->code = frame->rst_stream.error_code;
	}
	return 0;
}

/* nghttp2's signature */
/* NOLINTNEXTLINE(readability-function-size) */
static ssize_t say_nothing_yet(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len,
			       uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	return NGHTTP2_ERR_DEFERRED;
}

static void exchange(struct loop *loop, nghttp2_session *session, int fd)
{
	uint8_t in[4096];
	const uint8_t *out;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(session, &out)) > 0)
		assert_int_equal(write(fd, out, (size_t)n), n);
	for (int i = 0; i < 30; i++)
		(void)loop_run_once(loop, 1);
	while ((n = recv(fd, in, sizeof(in), MSG_DONTWAIT)) > 0)
		assert_int_equal(nghttp2_session_mem_recv(session, in, (size_t)n), n);
}

/* Who was refused before it has said all is told so, and that it need not say the rest. */
static void a_refusal_ends_the_stream_of_who_still_speaks(void **state)
{
#define NV(name, value)                                                                            \
	{                                                                                          \
		(uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), 0              \
	}
	const nghttp2_nv head[] = {NV(":method", "POST"), NV(":scheme", "http"),
				   NV(":authority", "x"), NV(":path", "/test.Echo/Refuse"),
				   NV("content-type", "application/grpc")};
	const nghttp2_data_provider body = {.read_callback = say_nothing_yet};
	struct seen seen = {.code = UINT32_MAX};
	_cleanup_(loop_freep) struct loop *loop = NULL;
	_cleanup_(grpc_server_freep) struct grpc_server *server = NULL;
	struct grpc_server_config config = {
		.listen_fd = -EBADF, .methods = &refusing, .n_methods = 1, .max_connections = 1};
	nghttp2_session_callbacks *callbacks;
	nghttp2_session *session;
	int fds[2];

	assert_int_equal(loop_new(&loop), 0);
	config.loop = loop;
	assert_int_equal(grpc_server_new(&config, &server), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(grpc_server_accept(server, fds[0]), 0);
	assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_seen);
	assert_int_equal(nghttp2_session_client_new(&session, callbacks, &seen), 0);
	assert_int_equal(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
	assert_true(nghttp2_submit_request(session, NULL, head, ARRAY_SIZE(head), &body, NULL) > 0);
	exchange(loop, session, fds[1]);
	assert_true(seen.is_answered);
	assert_true(seen.is_reset_after);
	assert_int_equal(seen.code, NGHTTP2_NO_ERROR);
	nghttp2_session_del(session);
	nghttp2_session_callbacks_del(callbacks);
	(void)close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refusal_ends_the_stream_of_who_still_speaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
