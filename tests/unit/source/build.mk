# SPDX-License-Identifier: Apache-2.0
unit-tests += $(patsubst %,tests/unit/source/test-%.c,crds folder kube kube-call kube-config manifest mesh-config object schema store words yaml)
