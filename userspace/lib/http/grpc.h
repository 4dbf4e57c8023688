/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* grpc - gRPC calls over HTTP/2 on a connected, non-blocking socket: unary and streaming, client
 * and server. Owner: a daemon; thread: its loop. Nothing blocks. Messages, metadata, calls and
 * connections are bounded. */
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/macros.h"
#include "culvert/abi/addr.h"

enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_INVALID_ARGUMENT = 3,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_NOT_FOUND = 5,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_FAILED_PRECONDITION = 9,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_UNAUTHENTICATED = 16,
};

struct grpc_call;   /* opaque; one call, either side */
struct grpc_client; /* opaque; one connection */
struct grpc_server; /* opaque; a listening socket and its connections */

/** struct grpc_call_ops - events of one call. Inside them anything may be called, freeing the
 * client or server included. */
struct grpc_call_ops {
	/** on_message() - one whole message, at most max_message bytes; borrowed for the call. */
	void (*on_message)(struct grpc_call *c, void *arg, const void *data, size_t len);
	/** on_half_close() - the other side will send no more messages. Server only; may be NULL.
	 */
	void (*on_half_close)(struct grpc_call *c, void *arg);
	/**
	 * on_end() - the call is over and @c is gone when this returns. Client: always, once,
	 * unless cancelled. Server: only when the other side gave up; not after grpc_call_finish().
	 * @status: enum grpc_status or what the server sent; @message: never NULL, borrowed.
	 */
	void (*on_end)(struct grpc_call *c, void *arg, int status, const char *message);
};

struct grpc_metadata {
	const char *name; /* lower case */
	const char *value;
};

struct grpc_call_config {
	const char *path;                     /* "/package.Service/Method"; copied */
	const struct grpc_metadata *metadata; /* copied */
	size_t n_metadata;                    /* 0..16 */
	uint64_t timeout_us;                  /* 0: none */
	size_t max_message;                   /* bytes accepted per message */
	const struct grpc_call_ops *ops;      /* borrowed, lives as long as the call */
	void *arg;
};

/**
 * grpc_client_new() - speak gRPC on a connected socket.
 * @fd:        taken on success; made non-blocking.
 * @on_closed: the connection is dead: every call has had its on_end before; error is 0 (closed by
 * the peer) or -errno. The client may be freed inside. Not called by grpc_client_free(). Return: 0;
 * -ENOMEM; -errno of epoll_ctl.
 */
_must_check_ int grpc_client_new(struct loop *loop, int fd, void (*on_closed)(void *arg, int error),
				 void *arg, struct grpc_client **ret);
/** struct grpc_client_config - a client whose socket is still to come. */
struct grpc_client_config {
	void (*on_closed)(void *arg, int error); /* as grpc_client_new() */
	void *arg;
	void (*on_freed)(void *arg); /* NULL: none; for whoever is making the socket */
	void *freed_arg;
	const char *authority; /* of requests over TLS; copied. NULL: plain, localhost */
};

/** grpc_client_new_pending() - calls may be made at once; they wait for grpc_client_attach() or end
 * by grpc_client_fail(). Return: 0; -ENOBUFS the authority is too long; -ENOMEM. */
_must_check_ int grpc_client_new_pending(struct loop *loop, const struct grpc_client_config *config,
					 struct grpc_client **ret);
/** grpc_client_attach() - @fd, connected or connecting, and @ssl (NULL: plain) are taken on
 * success. Return: 0; -errno of epoll_ctl; -ENOMEM. */
_must_check_ int grpc_client_attach(struct grpc_client *c, int fd, SSL *ssl);
/** grpc_client_fail() - no socket can be had: as if the connection had been lost. @why: a sentence
 * for on_end; "": the error says enough. */
void grpc_client_fail(struct grpc_client *c, int error, const char *why);
/** grpc_client_free() - close; open calls vanish without on_end. Takes NULL. Return: NULL. */
struct grpc_client *grpc_client_free(struct grpc_client *c);
DEFINE_CLEANUP(struct grpc_client *, grpc_client_free);

/** grpc_client_call() - start a call; messages may be sent at once. Return: 0; -ENOTCONN; -EINVAL;
 * -ENOMEM. */
_must_check_ int grpc_client_call(struct grpc_client *c, const struct grpc_call_config *config,
				  struct grpc_call **ret);

/** grpc_call_send() - queue one message; copied. Return: 0; -ENOBUFS more than 256 MiB queued;
 * -EPIPE ended; -ENOMEM. */
_must_check_ int grpc_call_send(struct grpc_call *c, const void *data, size_t len);
/** grpc_call_half_close() - client: no more messages will follow. */
void grpc_call_half_close(struct grpc_call *c);
/** grpc_call_cancel() - give up: the other side sees a reset; @c is gone, no on_end. */
void grpc_call_cancel(struct grpc_call *c);
/** grpc_call_finish() - server: end with @status after what is queued; @c is gone, no on_end.
 * @message: copied; NULL: none. */
void grpc_call_finish(struct grpc_call *c, enum grpc_status status, const char *message);

/** grpc_call_set_ops() - server, in on_open: who gets the call's events. */
void grpc_call_set_ops(struct grpc_call *c, const struct grpc_call_ops *ops, void *arg);
/** grpc_call_hold() - server, in on_open: keep messages back until grpc_call_go_on(), and let the
 * other side send no more than 64 KiB of them. on_end comes all the same. */
void grpc_call_hold(struct grpc_call *c);
/** grpc_call_go_on() - deliver what was kept back; the call may be over when this returns. */
void grpc_call_go_on(struct grpc_call *c);
/** grpc_call_metadata() - server: value of a request header. Return: borrowed; NULL when absent. */
const char *grpc_call_metadata(const struct grpc_call *c, const char *name);

/** struct grpc_peer - who is at the other end: of a UNIX socket by SO_PEERCRED, else its address,
 * and what whoever opened the call found out. */
struct grpc_peer {
	uid_t uid;
	pid_t pid;
	struct cv_addr addr; /* all zero: over no network */
	const void *caller;  /* set by a method that stands before another; NULL: not known */
};

struct grpc_method {
	const char *path;   /* "/package.Service/Method" */
	size_t max_message; /* bytes accepted per message */
	/** on_open() - a call begins; must set ops, may finish it. @arg: of the method. */
	void (*on_open)(struct grpc_call *c, const struct grpc_peer *peer, void *arg);
	void *arg;
};

struct grpc_server_config {
	struct loop *loop; /* borrowed */
	int listen_fd;     /* taken on success; -EBADF: none, only grpc_server_accept() */
	const struct grpc_method *methods; /* borrowed, lives as long as the server */
	size_t n_methods;
	size_t max_connections;
	/** is_crowd_cut - where strangers reach it: when connections run out, the oldest without a
	 * call that was let in goes, and so does one on which none was for half a minute. A call
	 * is let in when its on_open neither ends nor holds it, or by grpc_call_go_on(). */
	bool is_crowd_cut;
	/** is_allowed() - may this peer talk to us? NULL: everybody. */
	bool (*is_allowed)(void *arg, const struct grpc_peer *peer);
	/** ssl_new() - for each connection; NULL as answer refuses it. NULL: no TLS. */
	SSL *(*ssl_new)(void *arg);
	void *arg;
};

/** grpc_server_new() - serve on a listening UNIX stream socket. Return: 0; -ENOMEM; -errno of
 * epoll_ctl. */
_must_check_ int grpc_server_new(const struct grpc_server_config *config, struct grpc_server **ret);
/** grpc_server_free() - close everything; open calls vanish without on_end. Takes NULL. Return:
 * NULL. */
struct grpc_server *grpc_server_free(struct grpc_server *s);
DEFINE_CLEANUP(struct grpc_server *, grpc_server_free);

/** grpc_server_accept() - serve one connection that is already there: for tests over a socketpair.
 * @fd: taken on success. */
_must_check_ int grpc_server_accept(struct grpc_server *s, int fd);
