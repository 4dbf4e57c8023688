/* SPDX-License-Identifier: Apache-2.0 */
#include "nameservers.h"

#include <bpf/bpf.h>
#include <stdbool.h>

#include "net/addr.h"

static void send_one(const struct nameservers *n, const struct zds_nameserver *m)
{
	struct zds_nameserver copy = *m;

	copy.h.type = ZDS_NAMESERVER;
	(void)zds_send(n->zds, &copy.h, sizeof(copy), NULL, 0);
}

/* IPv4: the number holds for every pod. Return: how many there are. */
static uint32_t walk_v4(const struct nameservers *n, bool is_sent)
{
	int fd = datapath_map_fd(n->datapath, DATAPATH_NAMESERVERS);
	struct zds_nameserver m = {0};
	struct cv_addr key, *prev = NULL;
	uint32_t count = 0;

	while (bpf_map_get_next_key(fd, prev, &m.addr) == 0) {
		key = m.addr;
		prev = &key;
		if (!cv_addr_is_v4(&key) || bpf_map_lookup_elem(fd, &key, &m.number) < 0)
			continue;
		count++;
		if (is_sent)
			send_one(n, &m);
	}
	return count;
}

/* IPv6: one of the pod's ports. */
static uint32_t walk_v6(const struct nameservers *n, bool is_sent)
{
	int fd = datapath_map_fd(n->datapath, DATAPATH_NAMESERVER_SLOTS);
	int addrs_fd = datapath_map_fd(n->datapath, DATAPATH_NAMESERVER_ADDRS);
	struct cv_nameserver_slot key, next, *prev = NULL;
	uint32_t count = 0;

	while (bpf_map_get_next_key(fd, prev, &next) == 0) {
		struct zds_nameserver m = {.netns_cookie = next.netns_cookie, .slot = next.slot};

		key = next;
		prev = &key;
		if (bpf_map_lookup_elem(fd, &key, &m.number) < 0 ||
		    bpf_map_lookup_elem(addrs_fd, &m.number, &m.addr) < 0)
			continue;
		count++;
		if (is_sent)
			send_one(n, &m);
	}
	return count;
}

void nameservers_announce(struct nameservers *n, const struct cv_event *ev)
{
	struct zds_nameserver m = {.number = ev->arg, .addr = ev->remote.addr};

	if (ev->arg2 > 0) {
		m.netns_cookie = ev->netns_cookie;
		m.slot = ev->arg2 - 1;
		n->told_v6++;
	} else {
		n->told_v4++;
	}
	send_one(n, &m);
}

void nameservers_send(struct nameservers *n)
{
	n->told_v4 = walk_v4(n, true);
	n->told_v6 = walk_v6(n, true);
}

void nameservers_resend(struct nameservers *n)
{
	if (walk_v4(n, false) != n->told_v4 || walk_v6(n, false) != n->told_v6)
		nameservers_send(n);
}
