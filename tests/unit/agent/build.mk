# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/agent/test-cni-conf.c tests/unit/agent/test-cni-fresh.c tests/unit/agent/test-destmap.c tests/unit/agent/test-dests.c tests/unit/agent/test-events.c tests/unit/agent/test-exclude.c tests/unit/agent/test-features.c tests/unit/agent/test-handover.c tests/unit/agent/test-frontends.c tests/unit/agent/test-kube-write.c tests/unit/agent/test-links.c tests/unit/agent/test-maker.c tests/unit/agent/test-metrics.c \
	tests/unit/agent/test-mounts.c tests/unit/agent/test-netns.c tests/unit/agent/test-objects.c tests/unit/agent/test-passed.c \
	tests/unit/agent/test-podspec.c tests/unit/agent/test-procs.c tests/unit/agent/test-refusals.c tests/unit/agent/test-resolvconf.c tests/unit/agent/test-sockdestroy.c tests/unit/agent/test-sockets.c \
	tests/unit/agent/test-sweep.c tests/unit/agent/test-zds.c
