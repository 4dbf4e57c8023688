/* SPDX-License-Identifier: Apache-2.0 */
/* torture - connections that do all that an application may do with TCP, at random but the same on
 * both ends: `torture serve PORT`, `torture run HOST PORT COUNT SEED [proxied]`, with the last word
 * where no urgent byte may be. Either end follows the plan of the connection and says what was not
 * as it must be: a byte that differs, an end that was not seen, a call that hangs. The last line of
 * `run` is "N connections, N wrong, N resets lost, N refused", and that of `serve`, once it was
 * told to end and each connection has ended, "N served, ...". No reset is sent again: who waits for
 * one asks after PROBE_S (torture_end.c), and one that came for that alone is lost, or, where the
 * kernel says that it had no room for a segment at this socket, refused; neither is wrong. The line
 * before says how often anybody waited by poll, level and edge, each to read and to write. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "torture_end.h"
#include "torture_plan.h"

#define CLIENTS 16

static void print_sum(unsigned int n, const char *what, unsigned int wrong)
{
	printf("waited");
	for (int how = WAIT_POLL; how < WAIT_MAX; how++)
		printf(" %u %u", waits_of((enum waiting)how, false),
		       waits_of((enum waiting)how, true));
	printf("\n%u %s, %u wrong, %u resets lost, %u refused\n", n, what, wrong,
	       resets_lost(false), resets_lost(true));
}

/* ---- server ---- */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	unsigned int running, served, wrong;
} serving = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0};

static void serving_begins(void)
{
	pthread_mutex_lock(&serving.lock);
	serving.running++;
	pthread_mutex_unlock(&serving.lock);
}

static void serving_ends(bool is_wrong)
{
	pthread_mutex_lock(&serving.lock);
	serving.running--;
	serving.served++;
	serving.wrong += is_wrong;
	pthread_cond_signal(&serving.change);
	pthread_mutex_unlock(&serving.lock);
}

/* Each call of a connection ends in time, so each connection does. */
static int serving_wait(void)
{
	pthread_mutex_lock(&serving.lock);
	while (serving.running > 0)
		pthread_cond_wait(&serving.change, &serving.lock);
	pthread_mutex_unlock(&serving.lock);
	print_sum(serving.served, "served", serving.wrong);
	return serving.wrong != 0;
}

static void *serve_one(void *arg)
{
	struct end e = {.fd = (int)(intptr_t)arg};
	struct plan plan;

	if (recv(e.fd, &e.head, sizeof(e.head), MSG_WAITALL) == sizeof(e.head)) {
		plan = plan_of(&e.head);
		e.plan = &plan;
		end_run(&e);
	} else {
		(void)snprintf(e.error, sizeof(e.error), "no head");
		close(e.fd);
	}
	if (e.error[0])
		printf("server: seed %u connection %u: %s\n", e.head.seed, e.head.index, e.error);
	serving_ends(e.error[0]);
	return NULL;
}

static void serve_start(int fd)
{
	pthread_t thread;

	serving_begins();
	if (pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) == 0) {
		pthread_detach(thread);
		return;
	}
	printf("server: no thread\n");
	close(fd);
	serving_ends(true);
}

static void on_term(int signo)
{
	(void)signo;
}

/* SIGTERM interrupts the wait for the next connection and nothing else. */
static void term_prepare(sigset_t *while_waiting)
{
	struct sigaction end = {.sa_handler = on_term};
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	(void)sigaction(SIGTERM, &end, NULL);
	(void)pthread_sigmask(SIG_BLOCK, &term, while_waiting);
}

static int serve(const char *port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)strtoul(port, NULL, 10))};
	struct pollfd p = {.fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), .events = POLLIN};
	int one = 1, child;
	sigset_t while_waiting;

	term_prepare(&while_waiting);
	(void)setsockopt(p.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (p.fd < 0 || bind(p.fd, (struct sockaddr *)&any, sizeof(any)) < 0 ||
	    listen(p.fd, 512) < 0)
		return 1;
	printf("ready\n");
	while (ppoll(&p, 1, NULL, &while_waiting) == 1) {
		child = accept(p.fd, NULL, NULL);
		if (child >= 0)
			serve_start(child);
	}
	return serving_wait();
}

/* ---- client ---- */

static struct addrinfo *server;
static uint32_t seed, count;
static bool is_proxied;
static atomic_uint taken, failed;

static void connection(uint32_t index)
{
	struct end e = {.head = {seed, index, !is_proxied}, .is_client = true};
	struct plan plan = plan_of(&e.head);

	e.plan = &plan;
	if (end_connect(&e, server->ai_addr, server->ai_addrlen) < 0) {
		(void)snprintf(e.error, sizeof(e.error), "connect: %s", strerror(errno));
		close(e.fd);
	} else {
		end_run(&e);
	}
	if (!e.error[0])
		return;
	atomic_fetch_add(&failed, 1);
	printf("client: seed %u connection %u (write %d read %d end %d): %s\n", seed, index,
	       (int)plan.up.writing, (int)plan.down.reading, (int)plan.ending, e.error);
}

static void *client_main(void *arg)
{
	uint32_t index;

	(void)arg;
	while ((index = atomic_fetch_add(&taken, 1)) < count)
		connection(index);
	return NULL;
}

static int run(char **argv)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
	pthread_t threads[CLIENTS];

	if (getaddrinfo(argv[0], argv[1], &hints, &server) != 0)
		return 2;
	count = (uint32_t)strtoul(argv[2], NULL, 10);
	seed = (uint32_t)strtoul(argv[3], NULL, 10);
	is_proxied = argv[4];
	for (int i = 0; i < CLIENTS; i++)
		if (pthread_create(&threads[i], NULL, client_main, NULL) != 0)
			return 2;
	for (int i = 0; i < CLIENTS; i++)
		pthread_join(threads[i], NULL);
	print_sum(count, "connections", atomic_load(&failed));
	return atomic_load(&failed) != 0;
}

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve(argv[2]);
	if (argc >= 6 && argc <= 7 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	(void)fprintf(stderr,
		      "usage: torture serve PORT | torture run HOST PORT COUNT SEED [proxied]\n");
	return 2;
}
