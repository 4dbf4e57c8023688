# SPDX-License-Identifier: Apache-2.0
http := userspace/lib/http
lib-srcs += $(http)/accept.c $(http)/blocks.c $(http)/crowd.c $(http)/head.c $(http)/query.c $(http)/server.c $(wildcard $(http)/grpc*.c)
