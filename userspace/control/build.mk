# SPDX-License-Identifier: Apache-2.0
control-srcs += $(addprefix userspace/control/,ca.c ca_files.c ca_service.c bootstrap.c gate.c roots.c serving.c ca_watch.c problems.c control.c discovery.c status.c main.c)
