/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* source_impl - what each kind of source begins with; for the files of this folder only. */
#include "source/source.h"

struct source_impl_ops {
	struct source *(*free)(struct source *s);
};

struct source {
	const struct source_impl_ops *ops;
};
