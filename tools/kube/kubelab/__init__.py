# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes cluster on this machine: real control plane, kubelets, containerd, runc and kube-proxy, one set of
namespaces per node. See ../README.md."""
