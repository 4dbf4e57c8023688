/* SPDX-License-Identifier: Apache-2.0 */
/* culvert-maker - the agent's child that makes ztunnel's stock sockets, in ztunnel's cgroup: see
 * ../maker.h. A program of its own, without libraries, so that it costs less than 1 MB and has
 * nothing of the agent's in its memory, such as the token for the API server. */
#include <errno.h>
#include <linux/bpf.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "net/seqpacket.h"
#include "userspace/agent/maker_link.h"
#include "userspace/agent/netns.h"
#include "userspace/agent/sockets.h"

_Static_assert(ZDS_MAX_FDS <= SEQPACKET_FDS_MAX, "one answer carries all sockets");

static int on_mark(void *arg, int fd, enum cv_socket_kind kind)
{
	struct cv_socket socket = {.kind = kind};
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_fd = MAKER_MARK;
	attr.key = (uintptr_t)&fd;
	attr.value = (uintptr_t)&socket;
	attr.flags = BPF_ANY;
	return syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

struct call {
	const struct maker_request *request;
	int *fds;
};

static int dial_in_namespace(void *arg)
{
	static const struct sockets_marker marker = {.mark = on_mark};
	const struct call *c = arg;

	return sockets_dial(&marker, (enum cv_socket_kind)c->request->kind,
			    (enum zds_family)c->request->family, c->request->count, c->fds);
}

/* One request. Return: false when the agent is gone. */
static bool serve(const struct netns_home *home)
{
	struct pollfd p = {.fd = MAKER_LINK, .events = POLLIN};
	struct maker_request request;
	int netns_fd = -EBADF, fds[ZDS_MAX_FDS], r;
	struct call call = {&request, fds};
	size_t n = 0;

	if (poll(&p, 1, -1) < 0)
		return errno == EINTR;
	if (seqpacket_recv(MAKER_LINK, &request, sizeof(request), &netns_fd, 1, &n) !=
		    sizeof(request) ||
	    n != 1)
		return false;
	r = netns_call(home, netns_fd, dial_in_namespace, &call);
	close_fd(netns_fd);
	n = r < 0 ? 0 : request.count;
	if (seqpacket_send(MAKER_LINK, &r, sizeof(r), fds, n) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		close_fd(fds[i]);
	return true;
}

int main(void)
{
	const struct netns_home home = {.fd = MAKER_HOME};
	int type;
	socklen_t len = sizeof(type);

	if (getsockopt(MAKER_LINK, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
		(void)fputs("culvert-maker: only culvert-agent starts it\n", stderr);
		return EXIT_FAILURE;
	}
	while (serve(&home))
		continue;
	return EXIT_SUCCESS;
}
