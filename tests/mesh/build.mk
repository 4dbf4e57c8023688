# SPDX-License-Identifier: Apache-2.0
test-progs += tests/mesh/agent-feed
