/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/pod.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "net/addr.h"
#include "net/tcp.h"
#include "ztunnel/relay.h"
#include "ztunnel/stand_in.h"

static bool is_text(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL;
}

static bool is_valid(const struct zds_pod_add *m)
{
	return m->netns_cookie != 0 && m->addr_count >= 1 && m->addr_count <= ZDS_MAX_ADDRS &&
	       is_text(m->uid, sizeof(m->uid)) && is_text(m->namespace_, sizeof(m->namespace_)) &&
	       is_text(m->name, sizeof(m->name)) &&
	       is_text(m->service_account, sizeof(m->service_account));
}

/* listener_port() - 0 for what is no socket (a node without IPv6 gets placeholders). */
static uint16_t listener_port(int fd)
{
	struct sockaddr_storage ss;
	struct cv_sockaddr sa;
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return 0;
	if (cv_sockaddr_from_native((struct sockaddr *)&ss, len, &sa) < 0)
		return 0;
	return ntohs(sa.port);
}

int pod_new(const struct zds_pod_add *m, const int *fds, struct pod **ret)
{
	_cleanup_(freep) struct pod *p = NULL;

	if (!is_valid(m))
		return -EBADMSG;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	atomic_init(&p->refs, 1);
	p->netns_cookie = m->netns_cookie;
	p->flags = m->flags;
	p->incarnation = m->incarnation;
	p->addr_count = m->addr_count;
	memcpy(p->addrs, m->addrs, sizeof(p->addrs));
	memcpy(p->uid, m->uid, sizeof(p->uid));
	memcpy(p->namespace_, m->namespace_, sizeof(p->namespace_));
	memcpy(p->name, m->name, sizeof(p->name));
	memcpy(p->service_account, m->service_account, sizeof(p->service_account));
	for (size_t i = 0; i < ZDS_LISTENERS; i++) {
		uint16_t port = listener_port(fds[i]);

		if (port != 0)
			p->own_ports[p->own_port_count++] = port;
	}
	*ret = TAKE_PTR(p);
	return 0;
}

struct pod *pod_ref(struct pod *p)
{
	(void)atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

struct pod *pod_unref(struct pod *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	free(p);
	return NULL;
}

/* set_options() - accepted sockets inherit them, which saves six system calls for each. */
static void set_options(int fd, int listener)
{
	(void)socket_set_nodelay_keepalive(fd);
	/* A tunnel's last bytes are to arrive. */
	if (listener != ZDS_LISTEN_HBONE)
		relay_reset_on_close(fd, true);
}

struct listener_set *listener_set_new(const int *fds)
{
	struct listener_set *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	atomic_init(&l->refs, 1);
	memcpy(l->fds, fds, sizeof(l->fds));
	for (int i = 0; i < POD_LISTENERS; i++)
		set_options(fds[i], i);
	return l;
}

struct listener_set *listener_set_ref(struct listener_set *l)
{
	(void)atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

struct listener_set *listener_set_unref(struct listener_set *l)
{
	if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (size_t i = 0; i < POD_LISTENERS; i++)
		(void)close_fd(l->fds[i]);
	free(l);
	return NULL;
}

const struct workload *pod_workload(const struct state *s, const struct pod *p)
{
	return state_pod(s, p->uid, p->service_account, p->incarnation);
}

bool pod_has_addr(const struct pod *p, const struct cv_addr *a)
{
	for (uint32_t i = 0; i < p->addr_count; i++)
		if (cv_addr_equal(&p->addrs[i], a))
			return true;
	return false;
}

bool pod_is_own_port(const struct pod *p, uint16_t port)
{
	if (port == CV_HBONE_PORT)
		return true;
	for (uint32_t i = 0; i < p->own_port_count; i++)
		if (p->own_ports[i] == port)
			return true;
	return false;
}
