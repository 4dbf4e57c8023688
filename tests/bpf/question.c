/* SPDX-License-Identifier: Apache-2.0 */
#include "question.h"

#include <string.h>
#include <sys/time.h>

#include "harness.h"

int udp(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {.tv_sec = WAIT_MS / 1000};

	CHECK_OK(fd);
	CHECK_OK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
	return fd;
}

int ask(int fd, int family, const char *server, const char *question)
{
	struct sockaddr_storage ss;
	socklen_t len = native(server, family, &ss);

	return (int)sendto(fd, question, strlen(question), 0, (struct sockaddr *)&ss, len);
}

void ztunnel_receive(int fd, struct question *q)
{
	char control[256];
	struct iovec iov = {.iov_base = q->data, .iov_len = sizeof(q->data) - 1};
	struct msghdr m = {.msg_name = &q->from,
			   .msg_namelen = sizeof(q->from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct in6_pktinfo info;
	ssize_t n;

	memset(q, 0, sizeof(*q));
	CHECK(is_readable(fd, WAIT_MS));
	n = recvmsg(fd, &m, 0);
	CHECK_OK(n);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(c), sizeof(info));
		q->to = info.ipi6_addr;
		return;
	}
	test_fail(__FILE__, __LINE__, "no packet info");
}

void ztunnel_answer(int fd, struct question *q, const char *answer)
{
	char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
	struct iovec iov = {.iov_base = (void *)answer, .iov_len = strlen(answer)};
	struct msghdr m = {.msg_name = &q->from,
			   .msg_namelen = sizeof(q->from),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct in6_pktinfo info = {.ipi6_addr = q->to};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_PKTINFO;
	c->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	CHECK_OK(sendmsg(fd, &m, 0));
}
