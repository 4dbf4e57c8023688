/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cli - what the subcommands of `culvert` share. Blocking, one thread: a tool that comes and goes.
 */
#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "base/option.h"

#define CLI_RUN_ROOT "/run/culvert"
#define CLI_PATH_MAX 256

/** CLI_OPTION_OUTPUT() - row of an option table: the format, a string at @at of the options'
 * struct. */
#define CLI_OPTION_OUTPUT(at)                                                                      \
	{                                                                                          \
		.name = "output", .short_name = 'o', .type = OPTION_STRING, .offset = (at),        \
		.default_value = "short", .value_name = "FORMAT", .help = "short, json or yaml"    \
	}

/** CLI_OPTION_NODE(), CLI_OPTION_RUN_DIR() - likewise: which node is meant. */
#define CLI_OPTION_NODE(at, text)                                                                  \
	{                                                                                          \
		.name = "node", .type = OPTION_STRING, .offset = (at), .value_name = "NAME",       \
		.help = (text)                                                                     \
	}
#define CLI_EVERY_NODE "only this node (default: every node on this machine, or of the cluster)"
#define CLI_OPTION_RUN_DIR(at)                                                                     \
	{                                                                                          \
		.name = "run-dir", .type = OPTION_STRING, .offset = (at), .value_name = "DIR",     \
		.help = "the node's run directory, when it isn't " CLI_RUN_ROOT "/NAME"            \
	}

/** cli_build() - which build this is; static. */
const char *cli_build(void);

/** struct cli_command - one subcommand. The tables of `culvert` and `culvert ztunnel-config` are
 * made of these. */
struct cli_command {
	const char *name;
	const char *alias; /* NULL: none */
	const char *help;  /* one line */
	/* argv[0] is the subcommand's name. Return: the exit code. */
	int (*run)(int argc, char **argv);
};

int cli_version(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_node(int argc, char **argv);
int cli_ztunnel_config(int argc, char **argv);
int cli_connections(int argc, char **argv);
int cli_explain(int argc, char **argv);
/** cli_experimental() - `culvert x authz check POD`. */
int cli_experimental(int argc, char **argv);
int cli_drops(int argc, char **argv);
int cli_bpf(int argc, char **argv);
int cli_manifest(int argc, char **argv);
int cli_profile(int argc, char **argv);
int cli_install(int argc, char **argv);
int cli_upgrade(int argc, char **argv);
int cli_uninstall(int argc, char **argv);
int cli_precheck(int argc, char **argv);
int cli_proxy_status(int argc, char **argv);
int cli_analyze(int argc, char **argv);
int cli_describe(int argc, char **argv);
int cli_tag(int argc, char **argv);
int cli_bug_report(int argc, char **argv);
/** cli_admin() - one request to an admin socket of this pod, for admin_request() elsewhere. */
int cli_admin(int argc, char **argv);
/** cli_kernel() - what this node's maps say of one connection, as JSON, for explain elsewhere. */
int cli_kernel(int argc, char **argv);
/** cli_lab() - in lab.c. */
int cli_lab(int argc, char **argv);

int cli_completion(int argc, char **argv);
/** cli_complete() - print what the last of argv[1..] may become, a line each. Return: 0. */
int cli_complete(const struct cli_command *commands, int argc, char **argv);

/** cli_find() - the command called @name in a table that ends with a NULL name; NULL when unknown.
 */
const struct cli_command *cli_find(const struct cli_command *table, const char *name);

/** cli_sub() - a command whose first argument is a word of @table; without one, or with --help, the
 * table is shown. Return: the exit code. */
int cli_sub(const char *command, const struct cli_command *table, int argc, char **argv);

/** cli_nearest() - the command that somebody who wrote @name may have meant; NULL: none is near. */
const char *cli_nearest(const struct cli_command *table, const char *name);

/** cli_print_commands() - a table, one line each. */
void cli_print_commands(const struct cli_command *table);

/** cli_fail() - "culvert: ..." on stderr. Return: 1, the exit code. */
int cli_fail(const char *fmt, ...) _printf_(1, 2);

/** cli_check_output() - is this a format? Tells when not. "table" and "log" become "short". Return:
 * 0; 2, the exit code. */
_must_check_ int cli_check_output(const char *command, const char **output);

/** struct cli_syntax - what a subcommand takes. */
struct cli_syntax {
	const struct option_def *defs;
	const char *usage; /* "culvert node --config-dir DIR [options]" */
	const char *help;  /* paragraph */
	int max_rest;      /* how many arguments may follow the options */
};

/**
 * cli_parse() - option_parse() with its messages: prints help or the mistake.
 * @into: struct that the offsets of the options are of.
 * Return: index of the first argument that is not an option; 0: help was printed, leave with 0;
 * -EINVAL: a mistake was printed, leave with 2.
 */
_must_check_ int cli_parse(const struct cli_syntax *syntax, void *into, int argc, char **argv);
