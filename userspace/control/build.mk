# SPDX-License-Identifier: Apache-2.0
control-srcs += $(addprefix userspace/control/,admission.c bootstrap.c ca.c ca_files.c ca_options.c ca_secret.c ca_service.c ca_watch.c cacerts.c cluster.c \
	condition.c control.c csr_signer.c discovery.c election.c gate.c gateway_classes.c gateway_status.c gateways.c kinds.c leader.c main.c mesh_doubts.c metrics.c pod_ranges.c problems.c readiness.c registration.c roots.c serving.c stale.c \
	status.c statuses.c untaint.c validations.c webhook.c)
