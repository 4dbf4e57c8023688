/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* store - what the files of a folder hold: for each file its objects and errors, for each object's
 * name the files that claim it. Knows nothing of the file system. Owner: the folder. A changed file
 * costs what it holds. */
#include <stdbool.h>
#include <stddef.h>

#include "source/source.h"

struct store; /* opaque */

/** store_new() - empty. @ops, @arg: as source_folder_new(); called from store_publish() only.
 * Return: 0; -ENOMEM. */
_must_check_ int store_new(const struct source_ops *ops, void *arg, struct store **ret);
struct store *store_free(struct store *s);
DEFINE_CLEANUP(struct store *, store_free);

/** store_load() - a file's new text. What cannot be read keeps its last good state. Return: 0;
 * -ENOMEM. */
_must_check_ int store_load(struct store *s, const char *file, const char *text, size_t len);
/** store_fail() - the file cannot be read (too big, no permission): its objects stay, the error is
 * told. Return: 0; -ENOMEM. */
_must_check_ int store_fail(struct store *s, const char *file, const char *message);
/** store_remove() - the file is gone, and its objects with it. Return: 0; -ENOMEM. */
_must_check_ int store_remove(struct store *s, const char *file);
/** store_publish() - tell the user what changed since the last time. Return: 0; -ENOMEM: the rest
 * comes next time. */
_must_check_ int store_publish(struct store *s);
