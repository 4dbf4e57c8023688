/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* log_filter - which lines are written: a level for all, and levels of single scopes (the target of
 * a line), as Istio's ztunnel takes them: "info,access=off,dns=debug". One per process. Safe from
 * any thread. */
#include <stdbool.h>
#include <stddef.h>

#include "log.h"
#include "macros.h"

#define LOG_FILTER_SCOPES   32
#define LOG_FILTER_TEXT_MAX 1024

/**
 * log_filter_apply() - change what the directives name and keep the rest
 * @directives: comma-separated "LEVEL" or "SCOPE=LEVEL". A scope holds for the targets that are
 * called so, with or without the prefix "ztunnel::".
 * @err: what was expected; untouched on success.
 * Return: 0; -EINVAL and nothing has changed; -E2BIG too many scopes, and -ENOMEM, likewise.
 */
_must_check_ int log_filter_apply(const char *directives, char *err, size_t err_size);

/** log_filter_set() - as log_filter_apply(), forgetting what was before. */
_must_check_ int log_filter_set(const char *directives, char *err, size_t err_size);

/** log_filter_format() - what is in force, for log_filter_set(); scopes first. */
void log_filter_format(char *into, size_t size);
