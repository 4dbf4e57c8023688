# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/http/test-grpc.c
unit-tests += tests/unit/http/test-server.c
