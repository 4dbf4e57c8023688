/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf_words.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/macros.h"

struct word {
	const char *name;
	const char *meaning;
};

/* tests/unit/cli/test-words.c compares both lists with bpf/maps.h and the programs. */
static const struct word maps[] = {
	{"cv_pods", "enrolled pods by netns cookie"},
	{"cv_pod_addrs", "every address of enrolled pods"},
	{"cv_workloads", "addresses of pods: what goes to ztunnel, and what does not"},
	{"cv_services", "services that go to ztunnel"},
	{"cv_frontends", "services with endpoints among this node's pods"},
	{"cv_registered", "known, outside the mesh"},
	{"cv_ranges", "ranges that services have"},
	{"cv_outbound_rules", "annotations: not captured, out"},
	{"cv_inbound_rules", "annotations: not captured, in"},
	{"cv_inbound_ranges", "annotations: not captured, in, by source"},
	{"cv_conns", "whom to show as peer at accept"},
	{"cv_vouched", "let through to the application"},
	{"cv_shares",
	 "how much of cv_conns, cv_vouched and cv_directs is a pod's, by netns cookie; 0: all"},
	{"cv_links", "pods' links that are guarded, by the interface on the host"},
	{"cv_pod_links", "where packets for a pod of this node go"},
	{"cv_given", "connections of machines in pods that ztunnel has"},
	{"cv_given_pods", "how many by netns cookie; is_beyond: more than there is room for"},
	{"cv_asking", "cv_reroute is looking for a socket"},
	{"cv_exempt", "connections that were being opened at enrolment"},
	{"cv_steer", "ztunnel's listener per address"},
	{"cv_sockets", "what a socket is, whom it shows"},
	{"cv_nameservers", "nameservers asked, numbered"},
	{"cv_nameserver_addrs", "the same by number"},
	{"cv_nameserver_slots", "IPv6 nameservers by listener"},
	{"cv_nameserver_last", "the last number given"},
	{"cv_passed", "what went past the mesh, for explain --past"},
	{"cv_counters", "culvert drops reads these"},
	{"cv_locals", "which pod of this node it belongs to"},
	{"cv_verdicts", "verdicts for direct connections"},
	{"cv_denied", "sources outside the mesh that a policy denies by address"},
	{"cv_fresh_until", "until when what is known of destinations counts as current"},
	{"cv_generation", "which of the verdicts count"},
	{"cv_directs", "direct connections that are open"},
	{"cv_direct_told", "how much of them is in ztunnel's metrics"},
	{"cv_direct_untold", "how many of them found no room in cv_direct_events"},
	{"cv_refused", "how many connections of a known denial connect(2) has refused"},
	{"cv_direct_events", "ring buffer to the agent: their beginnings and ends"},
	{"cv_events", "refusals, for the agent's log"},
};

static const struct word progs[] = {
	{"cv_connect4", "IPv4: to ztunnel, past it, or refused"},
	{"cv_connect6", "IPv6: to ztunnel, past it, or refused"},
	{"cv_getpeername4", "shows the peer asked for, or the client"},
	{"cv_getpeername6", "shows the peer asked for, or the client"},
	{"cv_getsockname4", "shows the pod's own address"},
	{"cv_getsockname6", "shows the pod's own address"},
	{"cv_sendmsg4", "DNS over IPv4 goes to ztunnel"},
	{"cv_sendmsg6", "DNS over IPv6 goes to ztunnel"},
	{"cv_recvmsg4", "shows the nameserver that was asked"},
	{"cv_recvmsg6", "shows the nameserver that was asked"},
	{"cv_sockops", "original destinations, vouching, clean-up"},
	{"cv_setsockopt", "takes the client's address from ztunnel"},
	{"cv_guard", "checks what a pod sends as it enters the host"},
	{"cv_guard_in", "checks what comes to a pod past the kernel's short way"},
	{"cv_reroute", "takes what a machine in a pod sends to ztunnel"},
	{"cv_reroute_back", "lets answers to its DNS come from port 53"},
	{"cv_uplink", "drops plaintext from other nodes that nobody may send"},
	{"cv_lookup", "steers arrivals to ztunnel unless vouched"},
};

/* is_name() - the kernel keeps the first 15 bytes of a name. */
static bool is_name(const char *full, const char *name)
{
	size_t len = strlen(name);

	return streq(full, name) || (len == 15 && strncmp(full, name, len) == 0);
}

static const char *find(const struct word *list, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (is_name(list[i].name, name))
			return list[i].meaning;
	return "";
}

const char *bpf_map_word(const char *name)
{
	return find(maps, ARRAY_SIZE(maps), name);
}

const char *bpf_prog_word(const char *name)
{
	return find(progs, ARRAY_SIZE(progs), name);
}
