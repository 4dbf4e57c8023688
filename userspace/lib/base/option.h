/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* option - one table drives parsing, --help and the environment. "--name VALUE", "--name=VALUE",
 * "-n VALUE", "-nVALUE", "-n=VALUE"; flags take none but "=true" or "=false", and "-abn VALUE" is
 * "-a -b -n VALUE": as kubectl's and istioctl's (pflag). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "macros.h"

enum option_type {
	OPTION_STRING, /* const char *, points into argv, the environment or the default */
	OPTION_U64,    /* uint64_t in [min, max] */
	OPTION_BOOL,   /* bool; "--name" or "--name=true|false" */
	OPTION_LIST,   /* struct option_list; may be given again */
};

#define OPTION_LIST_MAX 64

/** struct option_list - the values of an OPTION_LIST in the order of the words; as an
 * OPTION_STRING they are borrowed. */
struct option_list {
	const char *values[OPTION_LIST_MAX];
	size_t count;
};

struct option_def {
	const char *name; /* without dashes; NULL ends the table */
	char short_name;  /* 0: none */
	enum option_type type;
	size_t offset;             /* of the field in the caller's struct */
	const char *default_value; /* as it would be typed; NULL: zero, NULL, false */
	uint64_t min, max;         /* OPTION_U64 */
	const char *env; /* environment variable that sets it when the option is not given; NULL:
			    none */
	const char *value_name; /* for --help: "DIR", "N" */
	const char *help;
};

/**
 * option_parse() - defaults, environment, then argv into @into.
 * @defs:     table, ended by a NULL name.
 * @into:     the struct that the offsets are of.
 * @ret_rest: first argument that is not an option (argc when none); parsing stops there or after
 * "--".
 * @err:      filled with a clear sentence on failure ("--workers: 99 is not in 1..64").
 * Return: 0; -EINVAL, @err set; -ECANCELED when --help was asked (nothing printed: call
 * option_help()).
 */
_must_check_ int option_parse(const struct option_def *defs, void *into, int argc, char **argv,
			      int *ret_rest, char *err, size_t err_size);

/** option_takes_next() - is the argument after @arg, an option, its value? */
bool option_takes_next(const struct option_def *defs, const char *arg);

/** option_help() - print "usage", the sentence and the table to stdout, fits 100 columns. */
void option_help(const struct option_def *defs, const char *usage, const char *what);
