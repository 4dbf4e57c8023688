# SPDX-License-Identifier: Apache-2.0
bpf-srcs += bpf/capture.bpf.c bpf/guard.bpf.c bpf/guard_in.bpf.c bpf/names.bpf.c bpf/dns.bpf.c bpf/sockops.bpf.c bpf/sockopt.bpf.c bpf/lookup.bpf.c bpf/reroute.bpf.c bpf/uplink.bpf.c
