/* SPDX-License-Identifier: Apache-2.0 */
/* refuse_bpf - a kernel whose verifier refuses the programs that CULVERT_TEST_REFUSE names, for
 * whoever is started with this in LD_PRELOAD. `NAME:N` is refused only where the verifier walks
 * more than N instructions. libbpf goes through syscall(3). */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARGS 6

static long (*real)(long number, ...);

/* What the environment says of this program: how much of it is too much; -1: nothing is. */
static long limit_of(const char *program)
{
	char name[BPF_OBJ_NAME_LEN + 1];

	(void)strcpy(name, " ");
	(void)strncat(name, program, BPF_OBJ_NAME_LEN - 1);
	for (const char *at = getenv("CULVERT_TEST_REFUSE"); at && (at = strstr(at, name)); at++) {
		const char *end = at + strlen(name);

		if (*end == ':')
			return strtol(end + 1, NULL, 10);
		if (*end == ' ')
			return 0;
	}
	return -1;
}

/* Takes the program's descriptor, and gives it back unless it is refused. */
static long refuse(long fd, long limit)
{
	struct bpf_prog_info info = {0};
	union bpf_attr attr = {
		.info = {.bpf_fd = (__u32)fd, .info_len = sizeof(info), .info = (__u64)&info}};

	if (fd < 0)
		return fd;
	(void)real(__NR_bpf, BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr));
	if (info.verified_insns <= limit)
		return fd;
	(void)close((int)fd);
	errno = E2BIG;
	return -1;
}

long syscall(long number, ...)
{
	long a[ARGS], limit = -1, r;
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < ARGS; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		real = (long (*)(long number, ...))dlsym(RTLD_NEXT, "syscall");
	if (number == __NR_bpf && a[0] == BPF_PROG_LOAD)
		limit = limit_of(((const union bpf_attr *)a[1])->prog_name);
	r = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	return limit >= 0 ? refuse(r, limit) : r;
}
