/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cel - the part of the Common Expression Language that asks about plain attributes: literals,
 * || && ! == != < <= > >= in ?:, has(), size(), string(), duration(), startsWith(), endsWith(),
 * contains(). Types are checked when it is read. A program is one block of memory without pointers:
 * it may be copied, and evaluated by several threads at once. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "macros.h"

#define CEL_TEXT_MAX 1024 /* bytes of an expression */

enum cel_type {
	CEL_BOOL,
	CEL_INT,
	CEL_STRING,
	CEL_DURATION, /* in nanoseconds */
};

/** struct cel_attribute - a name that an expression may use: "a.b" is a['b'], too. */
struct cel_attribute {
	const char *name;
	enum cel_type type;
};

/** struct cel_value - @text may point to @own: not to be copied. */
struct cel_value {
	int64_t number;   /* CEL_BOOL, CEL_INT, CEL_DURATION */
	const char *text; /* CEL_STRING */
	char own[64];
};

/** struct cel_env - where the values of attributes come from. */
struct cel_env {
	/* The attribute with this index in the table. Return: false: this one has none here. */
	bool (*get)(void *arg, size_t attribute, struct cel_value *ret);
	void *arg;
};

/** struct cel_problem - why an expression is not understood. */
struct cel_problem {
	char text[160];
};

struct cel; /* opaque */

/**
 * cel_parse() - read an expression
 * @attributes: ends with a NULL name, 64 at most; borrowed during the call.
 * @ret: the caller frees it with free(); set only on success.
 * @problem: what is not understood.
 * Return: 0; -EINVAL; -ENOMEM.
 */
_must_check_ int cel_parse(const char *text, const struct cel_attribute *attributes,
			   struct cel **ret, struct cel_problem *problem);
enum cel_type cel_result(const struct cel *c);
/** cel_size() - bytes of a program, for copies of it. */
size_t cel_size(const struct cel *c);
/** cel_uses() - a bit for each attribute that it asks for. */
uint64_t cel_uses(const struct cel *c);
/** cel_eval() - Return: 0; -ENODATA: it hangs on an attribute that has no value here. */
_must_check_ int cel_eval(const struct cel *c, const struct cel_env *env, struct cel_value *ret);
