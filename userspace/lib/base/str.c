/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define FILE_READ_STEP 4096

bool str_has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_has_suffix(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && streq(s + n - m, suffix);
}

int str_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (const char *p = s; *p; p++)
		if (*p < '0' || *p > '9')
			return -EINVAL;
	for (; *s; s++) {
		if (__builtin_mul_overflow(v, (uint64_t)10, &v))
			return -ERANGE;
		if (__builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int str_parse_duration(const char *s, uint64_t max_ms, uint64_t *ret_ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
	double sum = 0;

	do {
		char *end;
		double n = strtod(s, &end);
		size_t len = strspn(end, "smh"), i = 0;

		while (i < ARRAY_SIZE(units) &&
		       (strlen(units[i].unit) != len || strncmp(units[i].unit, end, len) != 0))
			i++;
		if (*s < '0' || *s > '9' || i == ARRAY_SIZE(units))
			return -EINVAL;
		sum += n * units[i].ms;
		s = end + len;
	} while (*s);
	if (!(sum <= (double)max_ms))
		return -ERANGE;
	*ret_ms = (uint64_t)sum;
	return 0;
}

char *str_format(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

int str_copy(char *dst, size_t size, const char *src)
{
	size_t n = strlen(src);

	if (size == 0)
		return -ENOBUFS;
	if (n >= size) {
		dst[0] = '\0';
		return -ENOBUFS;
	}
	memcpy(dst, src, n + 1);
	return 0;
}

uint32_t str_hash(const char *s)
{
	uint32_t h = 0x811c9dc5U;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * 0x01000193U;
	return h;
}

void str_hex(const void *p, size_t n, char *dst)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *bytes = p;

	for (size_t i = 0; i < n; i++) {
		*dst++ = digits[bytes[i] >> 4];
		*dst++ = digits[bytes[i] & 15];
	}
	*dst = '\0';
}

bool str_is_metric_label(const char *s)
{
	if ((!isalpha((unsigned char)*s) && *s != '_') || str_has_prefix(s, "__"))
		return false;
	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	return *s == '\0';
}

size_t str_concat_list(char *dst, size_t size, const char *const *texts)
{
	size_t at = 0;

	for (; *texts && at < size; texts++) {
		size_t n = MIN(strlen(*texts), size - at - 1);

		memcpy(dst + at, *texts, n);
		at += n;
	}
	if (size > 0)
		dst[at] = '\0';
	return at;
}

size_t str_utf8_len(const char *text)
{
	const uint8_t *s = (const uint8_t *)text;
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;
	uint32_t c = n > 1 ? *s & (0x7fU >> n) : *s;

	for (size_t i = 1; i < n; i++) {
		if (s[i] >> 6 != 2)
			return 0;
		c = c << 6 | (s[i] & 0x3fU);
	}
	return c >= least[n] && c <= 0x10ffff && c >> 11 != 0x1b ? n : 0;
}

char *str_utf8(char *s)
{
	size_t n;

	for (char *at = s; *at; at += MAX(n, (size_t)1)) {
		n = str_utf8_len(at);
		if (n == 0)
			*at = '?';
	}
	return s;
}

char *str_vprint(char *dst, size_t size, const char *fmt, va_list ap)
{
	(void)vsnprintf(dst, size, fmt, ap);
	return str_utf8(dst);
}

/* read_all() - read until the end, into a growing block: /proc files have no size to ask for. */
static int read_all(int fd, size_t max, char **buf, size_t *len)
{
	size_t cap = 0;

	for (;;) {
		ssize_t n;

		if (*len + 1 >= cap) {
			char *p;

			cap = MIN(cap ? cap * 2 : FILE_READ_STEP, max + 2);
			p = realloc(*buf, cap);
			if (!p)
				return -ENOMEM;
			*buf = p;
		}
		n = read(fd, *buf + *len, cap - *len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		*len += (size_t)n;
		if (*len > max)
			return -EFBIG;
	}
}

int file_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	_cleanup_(freep) char *buf = NULL;
	size_t len = 0;
	int r;

	if (max > SIZE_MAX - 2)
		return -EINVAL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	r = read_all(fd, max, &buf, &len);
	if (r < 0)
		return r;
	buf[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret = TAKE_PTR(buf);
	return 0;
}

static int write_all(int fd, const void *p, size_t n)
{
	const uint8_t *at = p;

	while (n > 0) {
		ssize_t w = write(fd, at, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return -errno;
		at += w;
		n -= (size_t)w;
	}
	return 0;
}

/* sync_parent() - make a rename durable. Failure is not reported: the new content is already in
 * place. */
static void sync_parent(const char *path)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	_cleanup_(freep) char *dir = NULL;
	const char *slash = strrchr(path, '/');

	dir = slash ? strndup(path, MAX((size_t)(slash - path), (size_t)1)) : strdup(".");
	if (!dir)
		return;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		(void)fsync(fd);
}

static int write_temporary(int fd, const void *p, size_t n, unsigned int mode)
{
	int r;

	if (fchmod(fd, mode) < 0)
		return -errno;
	r = write_all(fd, p, n);
	if (r < 0)
		return r;
	return fsync(fd) < 0 ? -errno : 0;
}

int file_write_atomic(const char *path, const void *p, size_t n, unsigned int mode)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	_cleanup_(freep) char *tmp = NULL;
	int r;

	tmp = str_format("%s.tmp.XXXXXX", path);
	if (!tmp)
		return -ENOMEM;
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = write_temporary(fd, p, n, mode);
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(tmp);
		return r;
	}
	sync_parent(path);
	return 0;
}

/* mkdir_one() - an existing directory is fine; only one made here gets @mode, past the umask. */
static int mkdir_one(const char *path, unsigned int mode)
{
	struct stat st;

	if (mkdir(path, mode) == 0)
		return chmod(path, mode) < 0 ? -errno : 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int mkdir_p(const char *path, unsigned int mode)
{
	_cleanup_(freep) char *copy = strdup(path);
	int r;

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + (*copy == '/'); *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		r = mkdir_one(copy, 0755);
		*p = '/';
		if (r < 0)
			return r;
	}
	return mkdir_one(copy, mode);
}

void random_bytes(void *p, size_t n)
{
	uint8_t *at = p;

	while (n > 0) {
		ssize_t r = getrandom(at, n, 0);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			abort(); /* never go on with guessable keys */
		at += r;
		n -= (size_t)r;
	}
}

static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t now_realtime_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

uint64_t now_monotonic_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}
