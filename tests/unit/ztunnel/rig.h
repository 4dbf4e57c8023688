/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* rig - workers, two pods on loopback addresses and the agent played by the test: real TCP and TLS,
 * no BPF. */
#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/ztunnel/mesh.h"
#include "ztunnel/worker.h"

#define CLIENT_ADDR  "10.99.1.1"
#define SERVER_ADDR  "10.99.2.1"
#define OUTSIDE_ADDR "10.99.3.1" /* no workload */
#define PEER_ADDR    "10.99.4.1" /* a workload whose node a test may play */
#define APP_PORT     8080
/* A service of three: one that refuses 15008, the client's pod, where no application listens, and
 * the server. */
#define SERVICE_ADDR "10.96.0.1"
#define SERVICE_KEY  "demo/web.demo.svc.cluster.local"
/* The same without a mesh: a port where nobody listens, and OUTSIDE_ADDR. */
#define PLAIN_SERVICE_ADDR "10.96.0.2"
#define PLAIN_SERVICE_KEY  "demo/plain.demo.svc.cluster.local"
/* A service of one, the peer; and of REFUSING_ADDR, where has_peer_twin. */
#define PEER_SERVICE_ADDR "10.96.0.3"
#define PEER_SERVICE_KEY  "demo/peer.demo.svc.cluster.local"
#define REFUSING_ADDR     "127.0.0.9"
#define SILENT_ADDR       "127.0.1.%u" /* from 1 on, `silent` of them */
#define WAIT_MS           60000
#define WORKERS           2

struct certs_root;
struct pod;
struct tls_identity;

/* The mesh of a test: main thread's loop, workers, two pods. */
struct rig {
	struct loop *loop;
	struct inbox inbox;
	struct worker workers[WORKERS];
	struct state *state;
	struct certs_root *root;
	const struct tls_identity *client_id, *server_id;
	struct pod *client, *server;
	int app;                /* listener of the application in the server pod */
	int plain_port;         /* of ztunnel's plaintext listener there */
	uint16_t outbound_port; /* and of one for what the client pod dials */
	unsigned int added, drained;
	uint32_t server_incarnation; /* of what is published next */
	bool is_agent_dead;
	bool is_agent_slow;         /* gives nothing before rig_give_late() */
	struct zds_sockets late[8]; /* that it was asked for meanwhile */
	unsigned int late_workers[8], late_count;
	bool is_peer_plain; /* in what is published next; and so has_peer_twin, silent */
	bool has_peer_twin;
	bool is_twin_weightless; /* nobody is sent to it */
	bool is_peer_gone;
	bool has_peer_heir;         /* one outside the mesh that has its address then */
	unsigned int silent;        /* further endpoints of the first service, all of one node */
	const char *server_account; /* in what is published next; NULL: its own */
	const char *peer_san;       /* of the peer's service; NULL: none */
	bool is_plain_blocking;     /* sockets for plain dials: connect(2) itself fails */
	unsigned int plain_asked;   /* how often such sockets were asked for */
};

/** rig_run() - main() of a test whose @tests have rig_setup() and rig_teardown(). Return: its exit
 * code. */
#define rig_run(tests) (rig_enter() ? cmocka_run_group_tests(tests, NULL, NULL) : 0)
/** rig_enter() - a namespace of our own, where 15008 and the addresses are free. Return: false
 * without root: said as skipped. */
bool rig_enter(void);
int rig_setup(void **state);
int rig_teardown(void **state);
/** rig_publish() - a snapshot to all workers. @deny: a policy denies everybody at the server. */
void rig_publish(struct rig *f, bool has_certs, bool deny);
/** rig_publish_without_server() - its pod is gone from the mesh, and the service with it. */
void rig_publish_without_server(struct rig *f);
/** rig_add_server() - serve the server's pod again after a release, with new listeners. */
void rig_add_server(struct rig *f);
/** rig_give_late() - the agent is slow no more. */
void rig_give_late(struct rig *f);
/** rig_turn_until() - run the main thread's loop until *@n is at least @want. */
void rig_turn_until(struct rig *f, const unsigned int *n, unsigned int want);
/** rig_turn_workers() - until each has worked off the messages and bytes that are there now. */
void rig_turn_workers(struct rig *f);
/** rig_metrics_have() - is @text in what the workers' telemetry says? */
bool rig_metrics_have(struct rig *f, const char *text);
int rig_listen(const char *addr, uint16_t port);
uint16_t rig_port(int fd);
