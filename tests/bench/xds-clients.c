/* SPDX-License-Identifier: Apache-2.0 */
/* xds-clients - as many ztunnels as asked for, as far as the control plane can tell: each has a
 * connection and everything, and none does anything with it.
 *
 * usage: xds-clients ADDRESS ROOT-FILE TOKEN-FILE CLIENTS ADDRESSES
 * Prints "synced" once all have so many addresses, and at SIGUSR1 and its end one JSON line: how
 * long after "at-N-" in a resource (microseconds of CLOCK_MONOTONIC) it was here. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"
#include "tests/bench/histogram.h"
#include "xds/client.h"

struct clients {
	struct loop *loop;
	size_t n, synced, wanted;
	struct histogram late_us;
	size_t resources, bytes, lost;
};

struct one {
	struct clients *all;
	struct xds_client *client;
	size_t addresses;
	bool is_synced;
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "xds-clients: %s\n", what);
	exit(1);
}

static void late_note(struct clients *c, const char *packed, size_t len)
{
	const char *at = memmem(packed, len, "at-", 3);
	uint64_t us = 0;

	if (!at)
		return;
	for (at += 3; at < packed + len && *at >= '0' && *at <= '9'; at++)
		us = us * 10 + (uint64_t)(*at - '0');
	if (us && us <= now_monotonic_us())
		histogram_add(&c->late_us, now_monotonic_us() - us);
}

static int on_resource(void *arg, enum xds_type type, const char *name, const void *packed,
		       size_t len, char *err, size_t err_size)
{
	struct one *x = arg;
	struct clients *c = x->all;

	x->addresses += type == XDS_ADDRESS;
	c->resources++;
	c->bytes += len + strlen(name);
	late_note(c, packed, len);
	return 0;
}

static int on_removed(void *arg, enum xds_type type, const char *name)
{
	return 0;
}

static int for_each_held(void *arg, enum xds_type type, int (*fn)(void *arg, const char *name),
			 void *fn_arg)
{
	return 0;
}

static void on_update_done(void *arg, enum xds_type type)
{
	struct one *x = arg;

	if (x->is_synced || x->addresses < x->all->wanted)
		return;
	x->is_synced = true;
	if (++x->all->synced < x->all->n)
		return;
	puts("synced");
	(void)fflush(stdout);
}

static void on_state(void *arg, bool is_connected)
{
	((struct one *)arg)->all->lost += !is_connected;
}

static void report(struct clients *c)
{
	printf("{\"resources\":%zu,\"bytes\":%zu,\"lost\":%zu,\"n\":%llu,\"p50_us\":%llu,"
	       "\"p99_us\":%llu}\n",
	       c->resources, c->bytes, c->lost, (unsigned long long)c->late_us.count,
	       (unsigned long long)histogram_at(&c->late_us, 0.5),
	       (unsigned long long)histogram_at(&c->late_us, 0.99));
	(void)fflush(stdout);
	memset(&c->late_us, 0, sizeof(c->late_us));
	c->resources = c->bytes = c->lost = 0;
}

static void on_signal(int signo, void *arg)
{
	struct clients *c = arg;

	report(c);
	if (signo != SIGUSR1)
		loop_stop(c->loop, 0);
}

static void client_start(struct one *x, char **argv, size_t number)
{
	static const struct xds_ops ops = {
		.on_resource = on_resource,
		.on_removed = on_removed,
		.for_each_held = for_each_held,
		.on_update_done = on_update_done,
		.on_state = on_state,
	};
	struct xds_client_config config = {
		.loop = x->all->loop,
		.target = {.address = argv[1],
			   .root_file = argv[2],
			   .token_file = argv[3],
			   .server_name = "istiod.istio-system.svc",
			   .cluster_id = "Kubernetes"},
		.types = 1u << XDS_ADDRESS | 1u << XDS_AUTHORIZATION,
		.ops = &ops,
		.arg = x,
	};
	char node[32], id[96];

	(void)snprintf(node, sizeof(node), "sim-%zu", number);
	(void)snprintf(id, sizeof(id), "ztunnel~1.1.1.1~z-%zu.istio-system~istio-system.svc",
		       number);
	config.node_name = node;
	config.node_id = id;
	if (xds_client_new(&config, &x->client) < 0)
		die("out of memory");
}

int main(int argc, char **argv)
{
	static struct clients c;
	struct rlimit files;
	struct one *all;
	uint64_t n, wanted;

	if (argc != 6 || str_parse_u64(argv[4], 1, 100000, &n) < 0 ||
	    str_parse_u64(argv[5], 1, 10000000, &wanted) < 0)
		die("usage: xds-clients ADDRESS ROOT-FILE TOKEN-FILE CLIENTS ADDRESSES");
	log_set_level(LOG_ERROR);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	c.n = n;
	c.wanted = wanted;
	all = calloc(n, sizeof(*all));
	if (!all || loop_new(&c.loop) < 0)
		die("out of memory");
	for (int i = 0; i < 3; i++)
		if (loop_signal(c.loop, ((const int[]){SIGUSR1, SIGTERM, SIGINT})[i], on_signal,
				&c) < 0)
			die("cannot take signals");
	for (size_t i = 0; i < n; i++) {
		all[i].all = &c;
		client_start(&all[i], argv, i);
	}
	(void)!loop_run(c.loop);
	for (size_t i = 0; i < n; i++)
		(void)xds_client_free(all[i].client);
	(void)loop_free(c.loop);
	free(all);
	return 0;
}
