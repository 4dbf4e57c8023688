# SPDX-License-Identifier: Apache-2.0
cli := userspace/cli
cli-srcs += $(cli)/cli.c $(cli)/completion.c $(cli)/node.c $(cli)/version.c $(cli)/status.c $(cli)/connections.c $(cli)/connections_table.c $(cli)/explain.c $(cli)/explain_kernel.c $(cli)/explain_text.c \
	$(cli)/experimental.c $(cli)/drops.c $(cli)/drops_table.c $(cli)/bpf.c $(cli)/bpf_words.c $(cli)/term.c $(wildcard $(cli)/ztunnel*.c) \
	$(cli)/admin.c $(cli)/json.c $(wildcard $(cli)/table*.c) $(wildcard $(cli)/lab*.c) $(cli)/main.c \
	$(cli)/chart_check.c $(cli)/chart_files.c $(cli)/chart_render.c $(cli)/chart_values.c $(cli)/install_spec.c \
	$(cli)/manifest.c $(cli)/profile.c
# The chart is inside the program, by .incbin.
$(BUILD)/obj/$(cli)/chart_files.o: $(shell find tools/deploy/chart -type f)
