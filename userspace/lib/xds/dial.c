/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/str.h"
#include "net/addr.h"
#include "net/resolve.h"
#include "net/tcp.h"
#include "net/unix.h"
#include "tls/channel.h"

#define HOST_MAX   256
#define TOKEN_MAX  (64 * 1024)
#define CONNECT_US 5000000ULL

/** struct dialling - a client that has no socket yet. Lives as long as the client. */
struct dialling {
	struct loop *loop;
	const struct dial_target *target;
	struct grpc_client *client;
	struct resolve *query;
	SSL *ssl;              /* until the client has it */
	struct cv_addr *addrs; /* of the host, in the order of attempts */
	size_t n, next;
	struct loop_fd attempt;  /* owns its descriptor until the client has it */
	struct loop_timer limit; /* of a look-up or an attempt */
	char why[256];           /* besides */
	char host[HOST_MAX];
	uint16_t port;
};

static int address_split(const char *address, char host[HOST_MAX], uint16_t *ret_port)
{
	const char *s = str_has_prefix(address, "https://") ? address + 8 : address;
	const char *colon = strrchr(s, ':');
	size_t n = colon ? (size_t)(colon - s) : 0;
	uint64_t port;

	if (n > 2 && s[0] == '[' && s[n - 1] == ']') {
		s++;
		n -= 2;
	}
	if (n == 0 || n >= HOST_MAX || str_parse_u64(colon + 1, 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	memcpy(host, s, n);
	host[n] = '\0';
	*ret_port = (uint16_t)port;
	return 0;
}

static int copy(const char *from, const char **ret)
{
	if (!from || !*from)
		return 0;
	*ret = strdup(from);
	return *ret ? 0 : -ENOMEM;
}

static int target_check(const struct dial_target *t)
{
	char host[HOST_MAX];
	uint16_t port;

	if (t->path)
		return strlen(t->path) < sizeof(((struct sockaddr_un *)NULL)->sun_path) ? 0
											: -EINVAL;
	return t->address ? address_split(t->address, host, &port) : -EINVAL;
}

int dial_target_copy(const struct dial_target *from, struct dial_target *ret)
{
	struct dial_target t = {0};
	int r = target_check(from);

	if (r < 0)
		return r;
	r = copy(from->path, &t.path);
	if (r == 0)
		r = copy(from->address, &t.address);
	if (r == 0)
		r = copy(from->root_file, &t.root_file);
	if (r == 0)
		r = copy(from->server_name, &t.server_name);
	if (r == 0)
		r = copy(from->token_file, &t.token_file);
	if (r == 0)
		r = copy(from->cluster_id, &t.cluster_id);
	if (r < 0) {
		dial_target_clear(&t);
		return r;
	}
	*ret = t;
	return 0;
}

void dial_target_clear(struct dial_target *t)
{
	free((char *)t->path);
	free((char *)t->address);
	free((char *)t->root_file);
	free((char *)t->server_name);
	free((char *)t->token_file);
	free((char *)t->cluster_id);
	*t = (struct dial_target){0};
}

static void attempt_end(struct dialling *d)
{
	loop_timer_del(&d->limit);
	if (d->attempt.fd < 0)
		return;
	loop_del(&d->attempt);
	d->attempt.fd = close_fd(d->attempt.fd);
}

/* The client is gone, connected or not. */
static void on_freed(void *arg)
{
	struct dialling *d = arg;

	(void)resolve_free(d->query);
	attempt_end(d);
	SSL_free(d->ssl);
	free(d->addrs);
	free(d);
}

static int attach(struct dialling *d)
{
	int r;

	loop_timer_del(&d->limit);
	loop_del(&d->attempt);
	r = grpc_client_attach(d->client, d->attempt.fd, d->ssl);
	if (r < 0)
		return r;
	d->attempt.fd = -EBADF;
	d->ssl = NULL;
	return 0;
}

static int attempt_begin(struct dialling *d, const struct cv_addr *addr)
{
	const struct cv_sockaddr to = {.addr = *addr, .port = htons(d->port)};
	int r = tcp_connect(&to, &d->attempt.fd);

	if (r == 0)
		r = loop_add(d->loop, &d->attempt, EPOLLOUT);
	return r < 0 ? r : loop_timer_set(d->loop, &d->limit, CONNECT_US);
}

/* The next address, as long as there is one; else the last one's error. */
static void go_on(struct dialling *d, int error)
{
	while (error < 0 && d->next < d->n) {
		attempt_end(d);
		error = attempt_begin(d, &d->addrs[d->next++]);
	}
	if (error == 0)
		return;
	attempt_end(d);
	grpc_client_fail(d->client, error, d->why);
}

static void on_attempt(struct loop_fd *w, uint32_t events)
{
	struct dialling *d = container_of(w, struct dialling, attempt);
	int r = tcp_connect_result(w->fd);

	if (r == 0)
		r = attach(d);
	if (r < 0)
		go_on(d, r);
}

static void on_limit(struct loop_timer *t)
{
	struct dialling *d = container_of(t, struct dialling, limit);

	d->query = resolve_free(d->query);
	go_on(d, -ETIMEDOUT);
}

/* From a random one on: each server is to have its share of clients. */
static int addrs_take(struct dialling *d, const struct cv_addr *addrs, size_t n)
{
	uint32_t start;

	d->addrs = calloc(n, sizeof(*d->addrs));
	if (!d->addrs)
		return -ENOMEM;
	random_bytes(&start, sizeof(start));
	for (size_t i = 0; i < n; i++)
		d->addrs[i] = addrs[(start + i) % n];
	d->n = n;
	return 0;
}

static void on_resolved(void *arg, int error, const struct cv_addr *addrs, size_t n)
{
	struct dialling *d = arg;
	const struct dial_target *t = d->target;

	if (error == 0)
		error = tls_channel_client(t->root_file, t->server_name ? t->server_name : d->host,
					   &d->ssl, d->why, sizeof(d->why));
	if (error == 0)
		error = addrs_take(d, addrs, n);
	loop_timer_del(&d->limit);
	go_on(d, error < 0 ? error : -EHOSTUNREACH); /* until one is tried */
}

static int dial_tls(struct dialling *d)
{
	int r = address_split(d->target->address, d->host, &d->port);

	if (r < 0)
		return r;
	r = loop_timer_set(d->loop, &d->limit, CONNECT_US);
	return r < 0 ? r : resolve_new(d->loop, d->host, on_resolved, d, &d->query);
}

static int dial_unix(const struct dialling *d)
{
	_cleanup_(close_fdp) int fd = -EBADF;
	int r = unix_stream_connect(d->target->path, &fd);

	if (r == 0)
		r = grpc_client_attach(d->client, fd, NULL);
	if (r == 0)
		(void)TAKE_FD(fd);
	return r;
}

int dial(struct loop *loop, const struct dial_target *target,
	 void (*on_closed)(void *arg, int error), void *arg, struct grpc_client **ret)
{
	struct dialling *d = calloc(1, sizeof(*d));
	struct grpc_client_config config = {
		.on_closed = on_closed,
		.arg = arg,
		.on_freed = on_freed,
		.freed_arg = d,
		.authority = target->address,
	};
	int r;

	if (!d)
		return -ENOMEM;
	d->loop = loop;
	d->target = target;
	d->limit.on_timer = on_limit;
	d->attempt.on_event = on_attempt;
	d->attempt.fd = -EBADF;
	r = grpc_client_new_pending(loop, &config, &d->client);
	if (r < 0) {
		free(d);
		return r;
	}
	r = target->path ? dial_unix(d) : dial_tls(d);
	if (r < 0) {
		(void)grpc_client_free(d->client);
		return r;
	}
	*ret = d->client;
	return 0;
}

int dial_credentials_read(const struct dial_target *target, struct dial_credentials *ret)
{
	struct dial_credentials c = {0};
	_cleanup_(freep) char *token = NULL;
	int r;

	if (target->token_file) {
		r = file_read(target->token_file, TOKEN_MAX, &token, NULL);
		if (r < 0)
			return r;
		token[strcspn(token, " \r\n\t")] = '\0';
		c.bearer = str_format("Bearer %s", token);
		explicit_bzero(token, strlen(token));
		if (!c.bearer)
			return -ENOMEM;
		c.metadata[c.n++] = (struct grpc_metadata){"authorization", c.bearer};
	}
	if (target->cluster_id)
		c.metadata[c.n++] = (struct grpc_metadata){"clusterid", target->cluster_id};
	*ret = c;
	return 0;
}

void dial_credentials_clear(struct dial_credentials *c)
{
	if (c->bearer)
		explicit_bzero(c->bearer, strlen(c->bearer));
	free(c->bearer);
	*c = (struct dial_credentials){0};
}
