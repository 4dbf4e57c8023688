/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* apps - the applications at both ends of the rig's mesh: plain blocking sockets with a time-out.
 * They assert. */
#include "tests/unit/ztunnel/rig.h"

struct pair {
	int client, server;
};

/** app_dial() - as if the client pod's application had connected to @to and been captured. Return:
 * its socket. */
int app_dial(struct rig *f, const char *to);
/** app_dial_as() - @is_plaintext: what was dialled in the clear from outside arrives at @pod. */
int app_dial_as(struct rig *f, struct pod *pod, bool is_plaintext, const char *to);
/** app_dial_captured() - at the client pod's listener, as an application that has dialled @to does.
 * Return: its socket. */
int app_dial_captured(struct rig *f, const char *to);
/** app_accept() - what arrives at the server's application; the agent works meanwhile. Return: -1
 * nothing in @ms. */
int app_accept(struct rig *f, int ms);
struct pair app_connect_pair(struct rig *f);
/** app_all_arrive() - whose clients have dialled, in any order: each names itself, and gets its
 * name back. Then they are closed. */
void app_all_arrive(struct rig *f, struct pair *pairs, int n);
void app_pair_close(struct pair *p);
void app_close_rst(int fd);
void app_say(int fd, const char *text);
void app_expect(int fd, const char *text);
/** app_pass() - what @from says arrives at @to. */
void app_pass(int from, int to, const char *text);
/** app_read_end() - Return: 0 FIN; -ECONNRESET and kin. */
int app_read_end(int fd);
/** app_expect_refused() - ztunnel took the connection and resets it within @ms; the application saw
 * nothing. Closes @fd. */
void app_expect_refused(struct rig *f, int fd, int ms);
