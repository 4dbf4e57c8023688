/* SPDX-License-Identifier: Apache-2.0 */
/* completion - scripts for bash and zsh, and what they ask: `culvert __complete WORD...` prints
 * what the last word may become. All of it is read out of the help texts, so it cannot fall behind.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cli.h"
#include "json.h"

#define HELP_MAX 16384
#define WORD_MAX 128
#define PLAIN    "abcdefghijklmnopqrstuvwxyz0123456789-"

static const char bash_script[] =
	"# culvert completion bash: source it, or put it into /etc/bash_completion.d\n"
	"_culvert() {\n"
	"\tlocal IFS=$'\\n'\n"
	"\tCOMPREPLY=($(culvert __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null))\n"
	"}\n"
	"complete -F _culvert culvert\n";
static const char zsh_script[] =
	"#compdef culvert\n"
	"# culvert completion zsh: source it after compinit, or put it into $fpath as _culvert\n"
	"_culvert() {\n"
	"\tlocal -a found\n"
	"\tfound=(${(f)\"$(culvert __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null)\"})\n"
	"\tcompadd -a found\n"
	"}\n"
	"compdef _culvert culvert\n";

static void offer(const char *prefix, const char *word, size_t n)
{
	if (n > 0 && strlen(prefix) <= n && strncmp(word, prefix, strlen(prefix)) == 0)
		printf("%.*s\n", (int)n, word);
}

/* help_of() - what @c says with --help, after the words given so far. Cut to HELP_MAX. */
static void help_of(const struct cli_command *c, char **words, int n, char help[HELP_MAX])
{
	char option[] = "--help";
	char *argv[8] = {(char *)(uintptr_t)c->name};
	int saved = dup(STDOUT_FILENO), pipes[2], argc = 1;
	ssize_t got;

	help[0] = '\0';
	if (saved < 0 || pipe(pipes) < 0)
		return;
	for (int i = 0; i < n && argc < 6; i++)
		if (words[i][0] != '-')
			argv[argc++] = words[i];
	argv[argc++] = option;
	(void)fflush(stdout);
	(void)dup2(pipes[1], STDOUT_FILENO);
	(void)close(pipes[1]);
	(void)c->run(argc, argv); /* a help text fits into a pipe */
	(void)fflush(stdout);
	(void)dup2(saved, STDOUT_FILENO);
	(void)close(saved);
	got = read(pipes[0], help, HELP_MAX - 1);
	help[got > 0 ? got : 0] = '\0';
	(void)close(pipes[0]);
}

static void offer_options(const char *prefix, const char *help)
{
	for (const char *at = strstr(help, "--"); at; at = strstr(at + 2, "--"))
		if (at > help && at[-1] == ' ')
			offer(prefix, at, 2 + strspn(at + 2, PLAIN));
}

/* The first words of the first indented lines: a table of commands. */
static void offer_table(const char *prefix, const char *help)
{
	bool is_inside = false;

	for (const char *line = help; line; line = strchr(line, '\n')) {
		size_t n;

		line += *line == '\n';
		n = strncmp(line, "  ", 2) == 0 ? strspn(line + 2, PLAIN) : 0;
		if (n == 0 && is_inside)
			return;
		is_inside = n > 0;
		offer(prefix, line + 2, n);
	}
}

static void offer_nodes(const char *prefix)
{
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	size_t n = found ? admin_find_local(NULL, NULL, found, ADMIN_NODES_MAX) : 0;

	for (size_t i = 0; i < n; i++)
		offer(prefix, found[i].name, strlen(found[i].name));
}

/* "namespace/name" of the pods that the nodes of this machine serve. */
static void offer_pods(const char *prefix)
{
	_cleanup_(freep) struct admin_node *found = calloc(ADMIN_NODES_MAX, sizeof(*found));
	size_t n = found ? admin_find_local(NULL, NULL, found, ADMIN_NODES_MAX) : 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_(json_decrefp) json_t *status = NULL;
		const json_t *pod;
		size_t k;

		if (admin_get_json(&found[i], "agent", "/status", &status) < 0)
			continue;
		json_array_foreach (json_object_get(status, "pods"), k, pod) {
			_cleanup_(freep) char *name =
				str_format("%s/%s", json_text(pod, "namespace", ""),
					   json_text(pod, "name", ""));

			if (name)
				offer(prefix, name, strlen(name));
		}
	}
}

/* usage_word() - the @index-th argument of the first line of a help text, what is in brackets not
 * counted. Return: its length, 0: there is none. */
static size_t usage_word(const char *help, int index, const char **ret)
{
	const char *at = help + strcspn(help, " "); /* Usage: culvert COMMAND ... */
	int depth = 0;

	for (int k = -2; *at && *at != '\n';) {
		size_t n = strcspn(at += strspn(at, " "), " \n");

		for (size_t i = 0; i < n; i++)
			depth += (at[i] == '[') - (at[i] == ']' && depth > 0);
		if (depth == 0 && at[0] != '[' && at[n ? n - 1 : 0] != ']' && at[0] != '-' &&
		    k++ == index) {
			*ret = at;
			return n;
		}
		at += n;
	}
	return 0;
}

/* offer_argument() - alternatives stand in the usage with |, pods have names of their own. */
static void offer_argument(const char *prefix, const char *help, int index)
{
	const char *word = NULL;
	size_t n = usage_word(help, index, &word);
	bool is_plain = n > 0 && strspn(word, PLAIN "|") == n;
	bool is_table = n > 0 && index == 0 && strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == n;
	bool is_pod = n > 0 && (strncmp(word, "POD", n) == 0 || strncmp(word, "FROM", n) == 0 ||
				strncmp(word, "TO", 2) == 0);

	if (is_pod)
		offer_pods(prefix);
	else if (is_table)
		offer_table(prefix, help);
	for (size_t at = 0; is_plain && at < n;) {
		size_t one = strcspn(word + at, "| \n[");

		offer(prefix, word + at, one);
		at += one + 1;
	}
}

static bool offer_value(const char *option, const char *prefix)
{
	static const char *const formats[] = {"short", "json", "yaml"};

	if (streq(option, "--node")) {
		offer_nodes(prefix);
		return true;
	}
	if (!streq(option, "-o") && !streq(option, "--output"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		offer(prefix, formats[i], strlen(formats[i]));
	return true;
}

int cli_complete(const struct cli_command *commands, int argc, char **argv)
{
	const char *prefix = argc > 1 ? argv[argc - 1] : "";
	const struct cli_command *c;
	char help[HELP_MAX];
	int index = 0;

	if (argc <= 2) {
		for (c = commands; c->name; c++)
			offer(prefix, c->name, strlen(c->name));
		return 0;
	}
	c = cli_find(commands, argv[1]);
	if (!c || offer_value(argv[argc - 2], prefix))
		return 0;
	for (int i = 2; i < argc - 1; i++)
		index += argv[i][0] != '-';
	help_of(c, argv + 2, prefix[0] == '-' ? argc - 3 : 0, help);
	/* a command of commands: what may follow is in the help of the second */
	if (prefix[0] != '-' && index > 0 && strstr(help, " COMMAND "))
		help_of(c, argv + 2, 1, help);
	if (prefix[0] == '-')
		offer_options(prefix, help);
	else
		offer_argument(prefix, help, index);
	return 0;
}

int cli_completion(int argc, char **argv)
{
	static const struct option_def none[] = {{0}};
	static const struct cli_syntax syntax = {
		.defs = none,
		.usage = "culvert completion bash|zsh",
		.help = "Print a script that lets the shell complete commands, options, nodes and "
			"pods: source <(culvert completion bash)",
		.max_rest = 1,
	};
	char nothing;
	int r = cli_parse(&syntax, &nothing, argc, argv);

	if (r <= 0)
		return r < 0 ? 2 : 0;
	if (r < argc && streq(argv[r], "bash"))
		(void)fputs(bash_script, stdout);
	else if (r < argc && streq(argv[r], "zsh"))
		(void)fputs(zsh_script, stdout);
	else {
		(void)cli_fail("completion: for which shell?\nUsage: %s", syntax.usage);
		return 2;
	}
	return 0;
}
