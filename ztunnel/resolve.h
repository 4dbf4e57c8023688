/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* resolve - where a connection goes. Pure functions of a snapshot; any thread; what they return is
 * borrowed from it. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "culvert/abi/maps.h"

struct service;
struct state;
struct workload;

#define RESOLVE_NO_UPSTREAM "no healthy upstream"
#define RESOLVE_NO_ADDRESS  "no address of the endpoint's name could be reached"

enum upstream_kind {
	UPSTREAM_PASSTHROUGH, /* not in the mesh: as it is to the original destination (DIAL_PLAIN)
			       */
	UPSTREAM_TCP,         /* an endpoint outside the mesh (DIAL_PLAIN) */
	UPSTREAM_NAMED,       /* as TCP, but the address is DNS's to say: resolve_named() */
	UPSTREAM_HBONE,       /* a tunnel (DIAL_HBONE) */
	UPSTREAM_REFUSE,      /* `error` says why */
};

struct upstream {
	enum upstream_kind kind;
	struct cv_sockaddr dial;   /* connect here; HBONE: port 15008 */
	struct cv_sockaddr target; /* HBONE: the CONNECT authority */
	const struct workload
		*workload; /* destination, NULL when unknown (or the waypoint, see is_waypoint) */
	const struct service *service; /* what was asked for, NULL when not a service */
	const char *const *identities; /* HBONE: the peer must show one of these, exactly */
	size_t identities_count;
	const char *const *more_identities; /* HBONE: or one of these (SANs of the service) */
	size_t more_identities_count;
	bool is_waypoint;
	struct cv_sockaddr endpoint; /* is_chosen: the one that was chosen, to avoid it next time */
	bool is_chosen;              /* among the endpoints of a service */
	bool has_others;             /* the service has more than this one */
	const char *error;           /* REFUSE: static text for the log */
	bool is_in_doubt;            /* REFUSE: another snapshot may know better */
};

/** struct resolve_choice - how to choose among equal endpoints. */
struct resolve_choice {
	uint32_t random;
	const struct cv_sockaddr *avoid; /* `endpoint`s that refused; borrowed for the call */
	size_t avoid_count;
	/* Endpoints whose names DNS did not resolve, or where no address could be reached; only
	 * compared. */
	const struct workload *const *avoid_named;
	size_t avoid_named_count;
	/* Those that said nothing: what is on their nodes comes last. */
	struct workload *const *silent;
	size_t silent_count;
	/* It was meant for a tunnel, to this one (borrowed; NULL: it was not): what is asked for by
	 * then is not taken for something outside the mesh because nobody knows it any more, or
	 * because another has its address. */
	const struct workload *meant;
	uint32_t among; /* what the kernel's lot has fallen on; if none of these serves: ALL */
};

/** struct resolve_addrs - of a name, in the order of DNS's answer; borrowed for the call. */
struct resolve_addrs {
	const struct cv_addr *addrs;
	size_t count;
};

/**
 * resolve_named() - choose among the addresses of a name
 * @src: the pod that dials.
 * @up: UPSTREAM_NAMED; becomes UPSTREAM_TCP, or what a pod or a service of the mesh at the address
 *      takes, or UPSTREAM_REFUSE, as when all addresses have failed.
 */
void resolve_named(const struct state *s, const struct workload *src,
		   const struct resolve_addrs *of_name, const struct resolve_choice *choice,
		   struct upstream *up);

/**
 * resolve_outbound() - choose the upstream of a captured connection
 * @src:    the pod that dials; NULL is refused.
 * @orig:   original destination.
 * @random: picks among equal endpoints.
 * @ret:    always filled. Nothing fails: what cannot be resolved is UPSTREAM_REFUSE.
 */
void resolve_outbound(const struct state *s, const struct workload *src,
		      const struct cv_sockaddr *orig, uint32_t random, struct upstream *ret);

/** resolve_outbound_again() - the same after some endpoints refused: never one of these. */
void resolve_outbound_again(const struct state *s, const struct workload *src,
			    const struct cv_sockaddr *orig, const struct resolve_choice *choice,
			    struct upstream *ret);

/**
 * resolve_served() - which service of a pod's somebody is after, for telemetry alone
 * @dst:  the pod; NULL: none.
 * @port: of its, host order.
 * @host: what the client says it dialled, NUL-terminated, bytes from the peer; NULL: nothing. Only
 *        a service of the pod's counts; else it is the first that leads to @port.
 * Return: borrowed; NULL: none.
 */
const struct service *resolve_served(const struct state *s, const struct workload *dst,
				     uint16_t port, const char *host);

/**
 * resolve_inbound() - where a CONNECT that arrived on 15008 is delivered
 * @dst:       the local workload that the tunnel belongs to; NULL gives 503.
 * @authority: "ip:port", "[ip6]:port" or "host:port", NUL-terminated, bytes from the peer.
 * @tunnel:    destination IP of the tunnel's TCP connection: the local pod's.
 * @ret_target: pod IP and port to dial; set only on success.
 * @ret_service: the service when the authority was a host name, else NULL; set only on success.
 * Return: 0, or the HTTP status to answer with: 400, 503.
 */
_must_check_ int resolve_inbound(const struct state *s, const struct workload *dst,
				 const char *authority, const struct cv_addr *tunnel,
				 struct cv_sockaddr *ret_target,
				 const struct service **ret_service);
