/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* entry - what the tests of ServiceEntry and WorkloadEntry share. */
#include "tests/unit/model/fixture.h"

/* A workload by its whole UID, an entry's or an endpoint's. NULL: none. */
static inline Istio__Workload__Workload *workload_of(struct fixture *f, const char *uid)
{
	Istio__Workload__Address *a =
		fixture_get(f, XDS_ADDRESS, uid, &istio__workload__address__descriptor);

	return a ? a->workload : NULL;
}
