/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/dns_stream.h"

#include <errno.h>
#include <sys/socket.h>

size_t dns_stream_next(const struct buf *b)
{
	size_t len;

	if (buf_len(b) < DNS_STREAM_PREFIX)
		return 0;
	len = (size_t)buf_head(b)[0] << 8 | buf_head(b)[1];
	return buf_len(b) >= DNS_STREAM_PREFIX + len ? DNS_STREAM_PREFIX + len : 0;
}

int dns_stream_put(struct buf *b, const uint8_t *p, size_t len)
{
	uint8_t prefix[DNS_STREAM_PREFIX] = {(uint8_t)(len >> 8), (uint8_t)len};
	int r = buf_append(b, prefix, sizeof(prefix));

	return r < 0 ? r : buf_append(b, p, len);
}

int dns_stream_flush(int fd, struct buf *b)
{
	while (buf_len(b)) {
		ssize_t n = send(fd, buf_head(b), buf_len(b), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return -errno;
		buf_consume(b, (size_t)n);
	}
	return 0;
}

int dns_stream_fill(int fd, struct buf *b)
{
	while (buf_len(b) < DNS_STREAM_BUFFER_MAX) {
		ssize_t n;
		int r = buf_reserve(b, DNS_STREAM_READ_SIZE);

		if (r < 0)
			return r;
		n = recv(fd, buf_tail(b), DNS_STREAM_READ_SIZE, MSG_DONTWAIT);
		if (n == 0)
			return 1;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		buf_produce(b, (size_t)n);
	}
	return 0;
}
