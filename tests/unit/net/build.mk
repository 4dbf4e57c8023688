# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/net/test-%.c,addr cidr seqpacket tcp)
