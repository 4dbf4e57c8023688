# SPDX-License-Identifier: Apache-2.0
cli := userspace/cli
cli-srcs += $(cli)/cli.c $(cli)/node.c $(cli)/version.c $(cli)/status.c $(wildcard $(cli)/ztunnel*.c) \
	$(cli)/admin.c $(cli)/json.c $(wildcard $(cli)/table*.c) $(wildcard $(cli)/lab*.c) $(cli)/main.c
