/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* stand_in - who the pods of this node are; those that no control plane has told of, because it is
 * away, dial as what node_identity.c lets stand in for them. In the snapshot, like state.h. */
#include <stdbool.h>
#include <stdint.h>

struct state;
struct workload;

/** state_is_alone() - the control plane has been there, and is away. */
bool state_is_alone(const struct state *s);

/**
 * state_pod() - the workload that a pod is
 * @account: its service account, as the agent has it; "": not known. One of the same name with
 * another account is another pod: neither its identity nor its policies are this one's.
 * @incarnation: struct workload's, as the agent has it: another one's labels, and so its policies,
 * are not this one's; 0: not known, or it is the identity that is asked for.
 * Return: borrowed; NULL when unknown.
 */
const struct workload *state_pod(const struct state *s, const char *uid, const char *account,
				 uint32_t incarnation);

/** state_client() - who dials: state_pod() of any incarnation, and without a control plane also
 * what stands in for a pod that it has not told of: with an identity that this node holds for
 * others, no address, no service, no policy. Nobody finds it but by this. Return: borrowed; NULL
 * when unknown. */
const struct workload *state_client(const struct state *s, const char *uid, const char *account);
