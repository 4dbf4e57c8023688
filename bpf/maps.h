/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#pragma once
/* maps - every map of Culvert, and its one rodata configuration. Each object file defines them
 * weakly; the linker keeps one. bpf/README.md says what each holds and what happens when it is
 * full. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "culvert/abi/maps.h"

const volatile struct cv_config cfg __weak = {
	.loopback_base = 0x7f400000,
	.loopback_mask = 0x003fffff,
	.share = CV_SHARE_OF_POD,
	.shared_most = CV_SHARED_MOST,
};

/* 1: the kernel's verifier takes the programs only without the code of direct connections, which it
 * then need not walk. */
const volatile __u32 is_tunnel_only __weak = 0;

/* What is not there costs nothing. */
#define CV_SPARSE(kind, most)                                                                      \
	__uint(type, BPF_MAP_TYPE_##kind);                                                         \
	__uint(map_flags, BPF_F_NO_PREALLOC);                                                      \
	__uint(max_entries, most)
#define CV_TRIE(most) CV_SPARSE(LPM_TRIE, most)

#define CV_HASH(most, of, entry)                                                                   \
	CV_SPARSE(HASH, most);                                                                     \
	__type(key, of);                                                                           \
	__type(value, entry)

#define CV_ONE(kind)                                                                               \
	__uint(type, BPF_MAP_TYPE_##kind);                                                         \
	__uint(max_entries, 1);                                                                    \
	__type(key, __u32)

struct {
	CV_HASH(4096, __u64, struct cv_pod);
} cv_pods __weak SEC(".maps");

struct {
	CV_HASH(32768, struct cv_pod_addr_key, __u32);
} cv_pod_addrs __weak SEC(".maps");

struct {
	/* 100,000 workloads of both families, and what is outside the mesh */
	CV_HASH(262144, struct cv_addr, struct cv_dest);
} cv_workloads __weak SEC(".maps");

struct {
	CV_HASH(65536, struct cv_service_key, struct cv_dest);
} cv_services __weak SEC(".maps");

struct {
	CV_ONE(ARRAY);
	__type(value, __u64);
} cv_fresh_until __weak SEC(".maps");

struct {
	CV_HASH(131072, struct cv_service_key, struct cv_dest);
} cv_registered __weak SEC(".maps");

struct {
	CV_TRIE(16384);
	__type(key, struct cv_range_key);
	__type(value, struct cv_dest);
} cv_ranges __weak SEC(".maps");

struct {
	CV_TRIE(65536);
	__type(key, struct cv_outbound_key);
	__type(value, __u32);
} cv_outbound_rules __weak SEC(".maps");

struct {
	CV_HASH(65536, struct cv_service_key, __u32);
} cv_inbound_rules __weak SEC(".maps");

struct {
	CV_TRIE(65536);
	__type(key, struct cv_inbound_range_key);
	__type(value, __u32);
} cv_inbound_ranges __weak SEC(".maps");

struct {
	CV_HASH(16384, struct cv_service_key, struct cv_frontend);
} cv_frontends __weak SEC(".maps");

struct {
	CV_HASH(CV_SHARED_MOST, struct cv_tuple, struct cv_conn);
} cv_conns __weak SEC(".maps");

struct {
	CV_HASH(CV_SHARED_MOST, struct cv_tuple, struct cv_vouch);
} cv_vouched __weak SEC(".maps");

struct {
	CV_HASH(4096, __u64, struct cv_share);
} cv_shares __weak SEC(".maps");

struct {
	CV_HASH(32768, struct cv_addr, __u64);
} cv_locals __weak SEC(".maps");

struct {
	CV_HASH(65536, struct cv_verdict_key, struct cv_verdict);
} cv_verdicts __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct cv_denied_key);
	__type(value, __u64);
} cv_denied __weak SEC(".maps");

struct {
	CV_ONE(ARRAY);
	__type(value, __u64);
} cv_generation __weak SEC(".maps");

struct {
	CV_HASH(CV_SHARED_MOST, struct cv_tuple, struct cv_direct);
} cv_directs __weak SEC(".maps");

struct {
	CV_HASH(65536, struct cv_tuple, struct cv_direct_told);
} cv_direct_told __weak SEC(".maps");

struct {
	CV_HASH(4096, struct cv_untold_key, struct cv_untold);
} cv_direct_untold __weak SEC(".maps");

/* Of its own: who is denied may dial as often as he likes, and pushes out no others' numbers. */
struct {
	CV_HASH(4096, struct cv_untold_key, __u64);
} cv_refused __weak SEC(".maps");

struct {
	CV_HASH(4096, __u32, __u64);
} cv_links __weak SEC(".maps");

struct {
	CV_HASH(4096, __u64, struct cv_link);
} cv_pod_links __weak SEC(".maps");

struct {
	CV_HASH(16384, struct cv_tuple, __u64);
} cv_exempt __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 16384);
	__type(key, struct cv_steer_key);
	__type(value, __u64);
} cv_steer __weak SEC(".maps");

/* No BPF_F_CLONE: an accepted child must not inherit what its listener is. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct cv_socket);
} cv_sockets __weak SEC(".maps");

struct {
	CV_HASH(CV_MAX_NAMESERVERS, struct cv_addr, __u32);
} cv_nameservers __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CV_MAX_NAMESERVERS);
	__type(key, __u32);
	__type(value, struct cv_addr);
} cv_nameserver_addrs __weak SEC(".maps");

struct {
	CV_HASH(16384, struct cv_nameserver_slot, __u32);
} cv_nameserver_slots __weak SEC(".maps");

struct {
	CV_ONE(ARRAY);
	__type(value, __u32);
} cv_nameserver_last __weak SEC(".maps");

struct {
	CV_HASH(CV_PASSED_MAX, struct cv_passed_key, struct cv_passed);
} cv_passed __weak SEC(".maps");

struct {
	CV_HASH(16384, struct cv_tuple, __u32);
} cv_given __weak SEC(".maps");

struct {
	CV_HASH(4096, __u64, struct cv_given_pod);
} cv_given_pods __weak SEC(".maps");

struct {
	CV_ONE(PERCPU_ARRAY);
	__type(value, __u32);
} cv_asking __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CV_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} cv_counters __weak SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} cv_events __weak SEC(".maps");

/* Of its own: direct connections come by thousands, and neither they nor refusals are to push the
 * others out. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} cv_direct_events __weak SEC(".maps");
