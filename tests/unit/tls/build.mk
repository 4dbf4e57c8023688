# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/tls/test-spiffe.c tests/unit/tls/test-trust.c tests/unit/tls/test-identity.c
