/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

#define ANSWER_SIZE 32768

const void *netlink_attr(const struct rtattr *first, size_t len, unsigned short type, size_t size)
{
	unsigned int left = (unsigned int)len;

	for (const struct rtattr *a = first; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return RTA_PAYLOAD(a) >= size ? RTA_DATA(a) : NULL;
	return NULL;
}

void netlink_put(struct nlmsghdr *request, unsigned short type, const void *data, size_t size)
{
	struct rtattr *a = (void *)((char *)request + NLMSG_ALIGN(request->nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(size);
	memcpy(RTA_DATA(a), data, size);
	request->nlmsg_len = (uint32_t)(NLMSG_ALIGN(request->nlmsg_len) + RTA_ALIGN(a->rta_len));
}

static int error_of(const struct nlmsghdr *h)
{
	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
		return -EBADMSG;
	return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
}

/* Return: 1 there is more to come; 0 that was all; -errno. */
static int answers_read(const char *buf, size_t n, netlink_fn *fn, void *arg)
{
	unsigned int left = (unsigned int)n;
	int r;

	for (const struct nlmsghdr *h = (const void *)buf; NLMSG_OK(h, left);
	     h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_ERROR)
			return error_of(h);
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		r = fn ? fn(arg, h) : 0;
		if (r < 0)
			return r;
		if (!(h->nlmsg_flags & NLM_F_MULTI))
			return 0;
	}
	return 1;
}

int netlink_call(int protocol, const struct nlmsghdr *request, netlink_fn *fn, void *arg)
{
	_Alignas(struct nlmsghdr) char buf[ANSWER_SIZE];
	_cleanup_(close_fdp) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
	ssize_t n;
	int r = 1;

	if (fd < 0)
		return -errno;
	if (send(fd, request, request->nlmsg_len, 0) < 0)
		return -errno;
	while (r > 0) {
		n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		r = answers_read(buf, (size_t)n, fn, arg);
	}
	return r;
}
