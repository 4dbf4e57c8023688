/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cni_conf - the node's network configuration with culvert-cni in it, and without. Text in, text
 * out; no state. */
#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

#include "base/macros.h"

/** struct cni_conf - a configuration that was changed. */
struct cni_conf {
	char *text;        /* malloc'ed; NULL: nothing was to change */
	bool was_single;   /* it had one plugin and no list: now it is a list, and wants another
			      ending of its name */
	const char *error; /* static; on -EINVAL: what was expected */
};

/** cni_conf_insert() - put @entry last, once. Return: 1 changed; 0 it is there; -EINVAL; -ENOMEM.
 */
_must_check_ int cni_conf_insert(const char *text, size_t len, json_t *entry, struct cni_conf *ret);
/** cni_conf_remove() - take every entry of ours out. Return: 1 changed; 0 there was none; -EINVAL;
 * -ENOMEM. */
_must_check_ int cni_conf_remove(const char *text, size_t len, struct cni_conf *ret);
