# SPDX-License-Identifier: Apache-2.0
base := userspace/lib/base
lib-srcs += $(base)/accept_pause.c $(base)/beside.c $(base)/buf.c $(base)/cel.c $(base)/cel_parse.c $(base)/clock_watch.c $(base)/drop.c $(base)/file_watch.c $(base)/files_limit.c $(base)/log.c $(base)/log_filter.c $(base)/log_output.c $(base)/index.c $(base)/json.c $(base)/loop.c $(base)/map.c \
	$(base)/option.c $(base)/process_metrics.c $(base)/reserve.c $(base)/str.c $(base)/timeslice.c $(base)/trim.c $(base)/turns.c $(wildcard $(base)/hamt.c $(base)/hamt_versions.c)
