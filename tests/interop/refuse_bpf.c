/* SPDX-License-Identifier: Apache-2.0 */
/* refuse_bpf - a kernel whose verifier refuses the programs that CULVERT_TEST_REFUSE names, for
 * whoever is started with this in LD_PRELOAD. libbpf goes through syscall(3). */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#define ARGS 6

static bool is_refused(const union bpf_attr *attr)
{
	const char *names = getenv("CULVERT_TEST_REFUSE");
	char name[BPF_OBJ_NAME_LEN + 2];

	(void)strcpy(name, " ");
	(void)strncat(name, attr->prog_name, BPF_OBJ_NAME_LEN - 1);
	(void)strcat(name, " ");
	return names && strstr(names, name);
}

long syscall(long number, ...)
{
	static long (*real)(long number, ...);
	long a[ARGS];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < ARGS; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		real = (long (*)(long number, ...))dlsym(RTLD_NEXT, "syscall");
	if (number == __NR_bpf && a[0] == BPF_PROG_LOAD &&
	    is_refused((const union bpf_attr *)a[1])) {
		errno = EACCES;
		return -1;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
