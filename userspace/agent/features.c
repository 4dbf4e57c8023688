/* SPDX-License-Identifier: Apache-2.0 */
#include "features.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "mounts.h"
#include "netns.h"

enum probe {
	PROBE_PROGRAM,
	PROBE_MAP,
	PROBE_HELPER,
	PROBE_CALL,
};

struct feature_def {
	const char *name, *since, *without;
	bool is_required;
	enum probe probe;
	unsigned int program; /* PROGRAM, HELPER */
	unsigned int what;    /* the map type, the helper */
	bool (*call)(void);   /* CALL */
};

static bool has_cgroup2(void)
{
	_cleanup_(freep) char *path = NULL;

	return mounts_find_cgroup2(&path) == 0;
}

static bool has_btf(void)
{
	return access("/sys/kernel/btf/vmlinux", R_OK) == 0;
}

static bool has_netns_cookie(void)
{
	uint64_t cookie;

	return netns_cookie(&cookie) == 0;
}

static bool has_ipv6(void)
{
	_cleanup_(close_fdp) int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0;
}

#define NOTHING_WORKS "nothing: the agent does not start"

static const struct feature_def defs[FEATURE_COUNT] = {
	{"mounted cgroup2 file system", "4.5",
	 NOTHING_WORKS "; mount -t cgroup2 none /sys/fs/cgroup/unified makes one", true, PROBE_CALL,
	 0, 0, has_cgroup2},
	{"connect and getpeername hooks (cgroup sock_addr)", "5.8", NOTHING_WORKS, true,
	 PROBE_PROGRAM, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, 0, NULL},
	{"sockops programs", "4.13", NOTHING_WORKS, true, PROBE_PROGRAM, BPF_PROG_TYPE_SOCK_OPS, 0,
	 NULL},
	{"setsockopt hook (cgroup sockopt)", "5.3", NOTHING_WORKS, true, PROBE_PROGRAM,
	 BPF_PROG_TYPE_CGROUP_SOCKOPT, 0, NULL},
	{"sk_lookup programs", "5.9", NOTHING_WORKS, true, PROBE_PROGRAM, BPF_PROG_TYPE_SK_LOOKUP,
	 0, NULL},
	{"socket storage", "5.2", NOTHING_WORKS, true, PROBE_MAP, 0, BPF_MAP_TYPE_SK_STORAGE, NULL},
	{"ring buffer", "5.8", NOTHING_WORKS, true, PROBE_MAP, 0, BPF_MAP_TYPE_RINGBUF, NULL},
	{"netns cookie in sock_addr programs", "5.7", NOTHING_WORKS, true, PROBE_HELPER,
	 BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_get_netns_cookie, NULL},
	{"netns cookie for user space (SO_NETNS_COOKIE)", "5.14", NOTHING_WORKS, true, PROBE_CALL,
	 0, 0, has_netns_cookie},
	{"kernel type information (BTF)", "5.4",
	 "everything; bpftool shows map values as bytes instead of fields", false, PROBE_CALL, 0, 0,
	 has_btf},
	{"return value of cgroup hooks (bpf_set_retval)", "6.1",
	 "everything; events of refusals name no process, and datagrams and sockets that are bound "
	 "to a device are refused with EPERM instead of ECONNREFUSED",
	 false, PROBE_HELPER, BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_set_retval, NULL},
	{"IPv6", "2.6", "IPv4 pods are served", false, PROBE_CALL, 0, 0, has_ipv6},
};

/* 0 when it is none. */
static unsigned long version_number(const char *version)
{
	char *dot;
	unsigned long major = strtoul(version, &dot, 10);

	return *dot == '.' ? major << 16 | strtoul(dot + 1, NULL, 10) : 0;
}

bool features_is_off(const char *since)
{
	const char *level = getenv("CULVERT_KERNEL_LEVEL");

	return level && version_number(since) > version_number(level);
}

static bool is_present(const struct feature_def *d)
{
	if (features_is_off(d->since))
		return false;
	switch (d->probe) {
	case PROBE_PROGRAM:
		return libbpf_probe_bpf_prog_type((enum bpf_prog_type)d->program, NULL) == 1;
	case PROBE_MAP:
		return libbpf_probe_bpf_map_type((enum bpf_map_type)d->what, NULL) == 1;
	case PROBE_HELPER:
		return libbpf_probe_bpf_helper((enum bpf_prog_type)d->program,
					       (enum bpf_func_id)d->what, NULL) == 1;
	case PROBE_CALL:
		return d->call();
	}
	return false;
}

void features_probe(struct feature ret[FEATURE_COUNT])
{
	for (size_t i = 0; i < FEATURE_COUNT; i++)
		ret[i] = (struct feature){
			.name = defs[i].name,
			.since = defs[i].since,
			.without = defs[i].without,
			.is_required = defs[i].is_required,
			.is_present = is_present(&defs[i]),
		};
}

int features_check(const struct feature features[FEATURE_COUNT])
{
	int r = 0;

	for (size_t i = 0; i < FEATURE_COUNT; i++) {
		const struct feature *f = &features[i];

		if (f->is_present)
			continue;
		log_write(f->is_required ? LOG_ERROR : LOG_WARN, "agent",
			  "this machine lacks a feature feature=\"%s\" since=%s still_works=\"%s\"",
			  f->name, f->since, f->without);
		if (f->is_required)
			r = -EOPNOTSUPP;
	}
	return r;
}
