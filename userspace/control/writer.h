/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* writer - under which name the API server files the fields that the control plane writes: what
 * follows a path. */
#include "source/honoured.h"

#define WRITER_QUERY "?fieldManager=" HONOURED_MAKER
/* for KUBE_APPLY: fields of others are taken over */
#define WRITER_APPLY WRITER_QUERY "&force=true"
