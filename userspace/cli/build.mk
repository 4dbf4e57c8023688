# SPDX-License-Identifier: Apache-2.0
cli := userspace/cli
cli-srcs += $(wildcard $(cli)/*.c)
# The chart is inside the program, by .incbin.
$(BUILD)/obj/$(cli)/chart_files.o: $(shell find tools/deploy/chart -type f)
