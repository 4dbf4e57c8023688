/* SPDX-License-Identifier: Apache-2.0 */
/* relay - what a message of an open connection asks of malloc(), both ztunnels together: nothing.
 * On the rig; every thread, OpenSSL and nghttp2 are counted. */
#include "ztunnel/relay.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "tests/unit/ztunnel/apps.h"
#include "tls/gcm.h"

#define MESSAGES 1000
/* Reads of a tunnel, more than it takes until OpenSSL keeps its buffers (BUSY_READS). */
#define WARM_UP 600
#define SMALL   64
#define BIG     16000
/* A record's price in OpenSSL 3.0: a list element of 40 bytes for each of three WPACKETs when it is
 * sealed, for one when it is opened. Where records are ours (tls/records.h) there is none. */
#define OPENSSL_PER_RECORD 4

/* NOLINTBEGIN(bugprone-reserved-identifier) */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
/* NOLINTEND(bugprone-reserved-identifier) */

struct counts {
	unsigned int all, openssl;
};

static atomic_uint all, openssl;

void __wrap_help_init(struct worker *w);

/* A worker without time asks the others for help: by the time and not by the message. */
void __wrap_help_init(struct worker *w)
{
}

void *malloc(size_t size)
{
	all++;
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	all++;
	return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	all++;
	return __libc_realloc(old, size);
}

static void *openssl_malloc(size_t size, const char *file, int line)
{
	openssl++;
	return malloc(size);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
	openssl++;
	return realloc(old, size);
}

static void openssl_free(void *p, const char *file, int line)
{
	free(p);
}

static void pass(int from, int to, size_t len)
{
	static uint8_t said[BIG], heard[BIG];

	said[0]++;
	assert_int_equal(send(from, said, len, MSG_NOSIGNAL), (ssize_t)len);
	assert_int_equal(recv(to, heard, len, MSG_WAITALL), (ssize_t)len);
	assert_memory_equal(said, heard, len);
}

/* exchange() - Return: how often somebody asked for memory meanwhile. */
static struct counts exchange(const struct pair *p, size_t len, int messages)
{
	struct counts before = {.all = all, .openssl = openssl};

	for (int i = 0; i < messages; i++) {
		pass(p->client, p->server, len);
		pass(p->server, p->client, len);
	}
	return (struct counts){.all = all - before.all, .openssl = openssl - before.openssl};
}

/* check() - @per_record: what OpenSSL may ask for. */
static void check(struct rig *f, unsigned int per_record)
{
	struct pair p = app_connect_pair(f);
	/* nghttp2 allocates a WINDOW_UPDATE, which goes when half of a window has been read */
	const unsigned int updates = 2 * (MESSAGES * BIG / (HBONE_STREAM_WINDOW / 2) + 1);
	struct counts n;

	(void)exchange(&p, SMALL, WARM_UP);
	/* in all less than half of a window */
	n = exchange(&p, SMALL, MESSAGES);
	assert_int_equal(n.all - n.openssl, 0);
	assert_in_range(n.openssl, 0, 2 * MESSAGES * per_record);
	n = exchange(&p, BIG, MESSAGES);
	assert_in_range(n.all - n.openssl, 0, updates);
	/* ztunnel may have read one in two parts */
	assert_in_range(n.openssl, 0, 2 * (2 * MESSAGES + updates) * per_record);
	app_pair_close(&p);
}

TEST(a_message_each_way_allocates_what_openssl_does_for_a_record)
{
	check(*cmocka_state, OPENSSL_PER_RECORD);
}

TEST(a_message_each_way_allocates_nothing_where_records_are_ours)
{
	if (!tls_gcm_query())
		skip();
	check(*cmocka_state, 0);
}

static int setup_with_our_records(void **state)
{
	const char *why = NULL;

	if (tls_gcm_load(&why) < 0)
		(void)printf("OpenSSL's records: %s\n", why);
	return rig_setup(state);
}

int main(void)
{
	/* in this order: what is loaded stays */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_message_each_way_allocates_what_openssl_does_for_a_record, rig_setup,
			rig_teardown),
		cmocka_unit_test_setup_teardown(
			a_message_each_way_allocates_nothing_where_records_are_ours,
			setup_with_our_records, rig_teardown),
	};

	if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1)
		return EXIT_FAILURE;
	return rig_run(tests);
}
