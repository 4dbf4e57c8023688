# SPDX-License-Identifier: Apache-2.0
unit-tests += tests/unit/xds/test-resources.c tests/unit/xds/test-ads.c tests/unit/xds/test-versions.c tests/unit/xds/test-ca-client.c tests/unit/xds/test-dial.c
