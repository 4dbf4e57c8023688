/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* question - datagrams to nameservers, as a client and as ztunnel. */
#include <netinet/in.h>

/* The address a datagram was sent to, and who sent it: what ztunnel needs to answer. */
struct question {
	char data[32];
	struct sockaddr_in6 from;
	struct in6_addr to;
};

/** udp() - a socket with a limit of WAIT_MS on blocking calls. ask() - as sendto(2). */
int udp(int family);
int ask(int fd, int family, const char *server, const char *question);
/** ztunnel_receive() - the question that comes at @fd. ztunnel_answer() - from where it went to. */
void ztunnel_receive(int fd, struct question *q);
void ztunnel_answer(int fd, struct question *q, const char *answer);
