/* SPDX-License-Identifier: Apache-2.0 */
/* tunnel - where memory ends: an open one goes on, with less or later; none is begun. */
#include "base/buf.h"
#include "base/reserve.h"
#include "tests/unit/hbone/tunnel_fixture.h"

/* No memory for what sockets do not take, and for a spare buffer once, after a while. */
static bool is_starved;
static unsigned int spares;

int __real_buf_append(struct buf *b, const void *p, size_t n);
int __wrap_buf_append(struct buf *b, const void *p, size_t n);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

int __wrap_buf_append(struct buf *b, const void *p, size_t n)
{
	return is_starved && b->cap < n ? -ENOMEM : __real_buf_append(b, p, n);
}

void *__wrap_malloc(size_t size)
{
	if (is_starved && size == SCRATCH_CIPHER_MAX && spares++ != 3)
		return NULL;
	return __real_malloc(size);
}

static void what_a_socket_does_not_take_needs_no_memory(void **state)
{
	struct fixture *f = *state;
	int small = 4096;

	start(f);
	(void)setsockopt(f->client_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	is_starved = true;
	open_stream(f, 1000000);
	run_until(f,
		  f->client.end.received == 1000000 || f->client.is_closed || f->server.is_closed);
	is_starved = false;
	assert_int_equal(f->client.end.received, 1000000);
	assert_true(spares > 3);
}

static void without_its_reserve_a_thread_shakes_no_hands(void **state)
{
	struct fixture *f = *state;

	start(f);
	open_stream(f, 10);
	run_until(f, f->client.end.received == 10);
	assert_true(reserve_fill());
	assert_true(reserve_give(1));
	/* what is open goes on */
	f->client.end.to_send = 20;
	hbone_stream_resume(&f->client.end.st);
	run_until(f, f->client.end.received == 20);
	hbone_tunnel_close(f->client.t, 0, "");
	run_until(f, f->client.is_closed && f->server.is_closed);
	f->client.is_closed = f->server.is_closed = f->client.is_ready = false;
	start_as(f, f->client_id, SERVER);
	run_until(f, f->client.is_closed && f->server.is_closed);
	assert_string_equal(f->client.text, "out of memory");
	assert_false(f->client.is_ready);
	reserve_drop();
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_a_socket_does_not_take_needs_no_memory),
		T(without_its_reserve_a_thread_shakes_no_hands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
