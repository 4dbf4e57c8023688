# SPDX-License-Identifier: Apache-2.0
unit-tests += $(addprefix tests/unit/control/,test-admission.c test-ca.c test-ca-options.c test-ca-secret.c test-ca-service.c test-ca-watch.c test-cacerts.c test-control.c test-csr-signer.c test-discovery.c test-election.c test-gate.c test-leader.c test-problems.c test-registration.c test-roots.c test-statuses.c test-webhook.c)

# A clock that the test turns.
$(BUILD)/tests/unit/control/test-leader: ALL_LDFLAGS += -Wl,--wrap=clock_gettime,--wrap=epoll_wait
