/* SPDX-License-Identifier: Apache-2.0 */
/* plain - linked into culvert-ztunnel-plain, which exists for the benchmark alone: what
 * redirection, HTTP/2 and policy cost without encryption. The handshake is the real one; what
 * follows it goes in frames of a marker, three bytes of length and the bytes as they are. The
 * linker puts these functions in the place of OpenSSL's (--wrap). */
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#define MARKER 0x7f
#define HEAD   4

struct reader {
	uint8_t head[HEAD];
	size_t head_len;
	size_t left; /* of the frame's bytes */
};

static int reader_index;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static __thread int error; /* what SSL_get_error() says of the last call below; 0: ask OpenSSL */

int __real_SSL_get_error(const SSL *ssl, int r);
int __wrap_SSL_get_error(const SSL *ssl, int r);
void __real_SSL_free(SSL *ssl);
void __wrap_SSL_free(SSL *ssl);
int __wrap_SSL_write_ex(SSL *ssl, const void *p, size_t n, size_t *ret_written);
int __wrap_SSL_read_ex(SSL *ssl, void *p, size_t n, size_t *ret_read);

static void reader_index_make(void)
{
	reader_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static struct reader *reader_of(SSL *ssl)
{
	struct reader *r;

	(void)pthread_once(&once, reader_index_make);
	r = SSL_get_ex_data(ssl, reader_index);
	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (r && SSL_set_ex_data(ssl, reader_index, r) == 1)
		return r;
	free(r);
	return NULL;
}

static int fail(int why)
{
	error = why;
	return 0;
}

/* Read a frame's head, which may come in pieces. Return: 1 there; 0 not yet, or broken (see error).
 */
static int head_read(SSL *ssl, struct reader *r)
{
	while (r->head_len < HEAD) {
		int n = BIO_read(SSL_get_rbio(ssl), r->head + r->head_len,
				 (int)(HEAD - r->head_len));

		if (n <= 0)
			return fail(SSL_ERROR_WANT_READ);
		r->head_len += (size_t)n;
		if (r->head[0] != MARKER) /* close_notify: the other end says goodbye in TLS */
			return fail(SSL_ERROR_ZERO_RETURN);
	}
	r->left = (size_t)r->head[1] << 16 | (size_t)r->head[2] << 8 | r->head[3];
	r->head_len = 0;
	return 1;
}

int __wrap_SSL_read_ex(SSL *ssl, void *p, size_t n, size_t *ret_read)
{
	struct reader *r = reader_of(ssl);
	int got;

	if (!r)
		return fail(SSL_ERROR_SYSCALL);
	if (r->left == 0 && !head_read(ssl, r))
		return 0;
	got = BIO_read(SSL_get_rbio(ssl), p, (int)(n < r->left ? n : r->left));
	if (got <= 0)
		return fail(SSL_ERROR_WANT_READ);
	r->left -= (size_t)got;
	*ret_read = (size_t)got;
	return 1;
}

int __wrap_SSL_write_ex(SSL *ssl, const void *p, size_t n, size_t *ret_written)
{
	const uint8_t head[HEAD] = {MARKER, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};

	if (BIO_write(SSL_get_wbio(ssl), head, HEAD) != HEAD ||
	    BIO_write(SSL_get_wbio(ssl), p, (int)n) != (int)n)
		return fail(SSL_ERROR_SYSCALL);
	*ret_written = n;
	return 1;
}

int __wrap_SSL_get_error(const SSL *ssl, int r)
{
	int e = error;

	error = 0;
	return e ? e : __real_SSL_get_error(ssl, r);
}

void __wrap_SSL_free(SSL *ssl)
{
	if (ssl)
		free(reader_of(ssl));
	__real_SSL_free(ssl);
}
