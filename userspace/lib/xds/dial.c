/* SPDX-License-Identifier: Apache-2.0 */
#include "xds/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/log.h"
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
	struct loop_timer fail; /* -errno is told from the loop, and a look-up has a limit */
	int error;
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

/* The client is gone, connected or not. */
static void on_freed(void *arg)
{
	struct dialling *d = arg;

	(void)resolve_free(d->query);
	loop_timer_del(&d->fail);
	free(d);
}

static void on_fail(struct loop_timer *t)
{
	struct dialling *d = container_of(t, struct dialling, fail);

	d->query = resolve_free(d->query);
	log_debug("xds", "control plane not reached address=%s: %s", d->target->address,
		  strerror(-d->error));
	grpc_client_fail(d->client, d->error);
}

static void fail_soon(struct dialling *d, int error)
{
	d->error = error;
	(void)loop_timer_set(d->loop, &d->fail, 0);
}

static int connect_to(struct dialling *d, const struct cv_addr *addr)
{
	const struct cv_sockaddr to = {.addr = *addr, .port = htons(d->port)};
	const struct dial_target *t = d->target;
	_cleanup_(SSL_freep) SSL *ssl = NULL;
	_cleanup_(close_fdp) int fd = -EBADF;
	char err[256] = "";
	int r;

	r = tls_channel_client(t->root_file, t->server_name ? t->server_name : d->host, &ssl, err,
			       sizeof(err));
	if (r < 0) {
		log_debug("xds", "control plane not dialled address=%s: %s", t->address,
			  err[0] ? err : strerror(-r));
		return r;
	}
	r = tcp_connect(&to, &fd);
	if (r == 0)
		r = grpc_client_attach(d->client, fd, ssl);
	if (r < 0)
		return r;
	(void)TAKE_FD(fd);
	(void)TAKE_PTR(ssl);
	return 0;
}

static void on_resolved(void *arg, int error, const struct cv_addr *addrs, size_t n)
{
	struct dialling *d = arg;
	uint32_t start;

	loop_timer_del(&d->fail);
	random_bytes(&start, sizeof(start));
	for (size_t i = 0; i < n; i++) {
		error = connect_to(d, &addrs[(start + i) % n]);
		if (error == 0)
			break;
	}
	if (error < 0)
		fail_soon(d, error);
}

static int dial_tls(struct dialling *d)
{
	int r = address_split(d->target->address, d->host, &d->port);

	if (r < 0)
		return r;
	d->error = -ETIMEDOUT;
	r = loop_timer_set(d->loop, &d->fail, CONNECT_US);
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
	d->fail.on_timer = on_fail;
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
