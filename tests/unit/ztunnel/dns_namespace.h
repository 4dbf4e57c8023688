/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* dns_namespace - a network namespace of our own for dns_fixture.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "tests/unit/ztunnel/mesh.h"

#define POD_ADDR     "10.99.0.1"
#define MACHINE_ASKS "10.99.7.1" /* as if by cv_reroute */

static inline void set_address(const char *name, const char *addr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {0};
	struct sockaddr_in *in = (struct sockaddr_in *)&r.ifr_addr;

	(void)str_copy(r.ifr_name, sizeof(r.ifr_name), name);
	in->sin_family = AF_INET;
	in->sin_addr.s_addr = inet_addr(addr);
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &r), 0);
	r.ifr_flags = IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

static inline int own_namespace(void **state _unused_)
{
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		print_message("skipped: no network namespace of our own: %s\n", strerror(errno));
		exit(0);
	}
	set_address("lo", "127.0.0.1");
	set_address("lo:1", POD_ADDR);
	set_address("lo:2", MACHINE_ASKS);
	return 0;
}
