/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* metadata - what a client says of itself in texts with names: its node to the control plane, whose
 * certificate it wants to a CA. No state. */
#include "userspace/lib/xds/google.pb-c.h"

#define METADATA_MAX      2
#define METADATA_NODE     "NODE_NAME"
#define METADATA_VERSION  "ISTIO_VERSION"
#define METADATA_IDENTITY "ImpersonatedIdentity"

/** struct metadata - texts to be sent. Not to be moved once it has one. */
struct metadata {
	Google__Protobuf__Struct message; /* what goes into the message */
	Google__Protobuf__StructField fields[METADATA_MAX], *pointers[METADATA_MAX];
	Google__Protobuf__Value values[METADATA_MAX];
};

/** metadata_init() - without any. */
void metadata_init(struct metadata *m);
/** metadata_add() - METADATA_MAX times at most. @key, @text: borrowed for as long as @m. */
void metadata_add(struct metadata *m, const char *key, const char *text);

/** metadata_text() - what was sent as @key. @s: may be NULL. Return: borrowed; NULL: there is none,
 * or it is no string. */
const char *metadata_text(const Google__Protobuf__Struct *s, const char *key);
/** metadata_copy() - the same into @dst of @size bytes, as str_utf8() has it, "" when it does not
 * fit; which stays as it is where there is none. */
void metadata_copy(const Google__Protobuf__Struct *s, const char *key, char *dst, size_t size);
