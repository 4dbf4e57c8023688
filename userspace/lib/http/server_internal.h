/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* server_internal - a connection and its server: what server.c and crowd.c share. Only they include
 * this. */
#include "base/list.h"
#include "culvert/abi/addr.h"
#include "http/server.h"

#define CONNECTIONS_MAX 64
#define ACCEPT_PAUSE_US (100ULL * 1000)

struct crowd;
struct share;

enum conn_state {
	CONN_STATE_WAITING,  /* in a crowd: not begun, all connections are taken */
	CONN_STATE_HEAD,     /* reading the request's head */
	CONN_STATE_WANTED,   /* reading a body for the handler */
	CONN_STATE_BODY,     /* reading a body that nobody wants */
	CONN_STATE_DEFERRED, /* the handler answers later */
	CONN_STATE_WRITE,    /* sending the answer */
	CONN_STATE_LINGER,   /* all sent: waiting for the peer's FIN, so that it surely reads the
				answer */
};

struct conn {
	struct list link;
	struct http_server *server; /* NULL: orphan, only kept for http_response_finish() */
	struct loop_fd watch;
	struct loop_timer timer;
	SSL *ssl; /* NULL: plain */
	enum conn_state state;
	uint64_t since_us;   /* when it was begun, was heard, or answer or linger was begun */
	unsigned int heard;  /* how often it said something */
	struct cv_addr addr; /* in a crowd: whose it is */
	struct share *share;
	struct buf in;
	char *head;              /* of a request whose body is read */
	struct http_request req; /* in @head */
	size_t body_reserved;
	struct buf out;
	size_t body_left;
	bool is_head_method;
	bool is_deferred;
	struct http_response resp;
};

struct http_server {
	struct http_server_config config;
	struct loop *loop;
	struct loop_fd listener;
	struct loop_timer accept_pause;
	size_t bodies; /* bytes that are promised to bodies */
	struct list conns;
	unsigned int n_conns;
	struct crowd *crowd; /* NULL: whoever comes is begun or waits in the socket's queue */
};

/** http_conn_new() - @fd is taken on success; it is not served yet. Return: NULL: out of memory. */
struct conn *http_conn_new(struct http_server *s, int fd);
/** http_conn_begin() - serve it. Return: 0; -errno: it is gone. */
int http_conn_begin(struct conn *c);
/** http_conn_heard() - it says something, so it is idle from now on only. Return: false: it has
 * said so too often for as little as it said. */
bool http_conn_heard(struct conn *c);
/** http_conn_close() - the end of one that was begun; a deferred answer keeps the memory until it
 * is finished. */
void http_conn_close(struct conn *c);
/** http_conn_free() - one that was not begun: its descriptor stays open. */
void http_conn_free(struct conn *c);

/** crowd_new() - for a server that strangers reach: by the addresses of those who come, it begins
 * first whose address has the fewest connections, and in favour of such a one ends others'. */
_must_check_ int crowd_new(struct http_server *s);
/** crowd_free() - with those that wait; after the server's connections. Takes NULL. */
void crowd_free(struct crowd *crowd);
/** crowd_accept() - take what has come. Return: 0; -EMFILE, -ENFILE, -ENOMEM: not now. */
int crowd_accept(struct crowd *crowd);
/** crowd_leave() - a connection that was begun ends. */
void crowd_leave(struct crowd *crowd, struct conn *c);
