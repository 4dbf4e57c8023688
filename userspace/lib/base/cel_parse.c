/* SPDX-License-Identifier: Apache-2.0 */
/* Recursive descent, one function per level of precedence. After the first problem every function
 * returns node 0 and reads on no more. */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cel.h"
#include "cel_program.h"
#include "str.h"

#define PATH_MAX_LEN 128

struct parser {
	const char *at;
	const struct cel_attribute *attributes;
	struct cel_problem *problem;
	bool is_bad;
	unsigned int depth;
	uint64_t uses;
	uint16_t count; /* of nodes; node 0 is none */
	uint16_t texts_len;
	struct cel_node nodes[CEL_NODES_MAX];
	char texts[CEL_TEXT_MAX + 1];
};

static uint16_t bad(struct parser *p, const char *fmt, ...) _printf_(2, 3);
static uint16_t bad(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	if (p->is_bad)
		return 0;
	p->is_bad = true;
	va_start(ap, fmt);
	(void)str_vprint(p->problem->text, sizeof(p->problem->text), fmt, ap);
	va_end(ap);
	return 0;
}

static uint16_t node(struct parser *p, struct cel_node n)
{
	if (p->is_bad)
		return 0;
	if (p->count >= CEL_NODES_MAX)
		return bad(p, "it is too long");
	p->nodes[p->count] = n;
	return p->count++;
}

static enum cel_type type_of(const struct parser *p, uint16_t at)
{
	return p->nodes[at].type;
}

static void skip_space(struct parser *p)
{
	while (isspace((unsigned char)*p->at))
		p->at++;
}

static bool accept(struct parser *p, const char *token)
{
	skip_space(p);
	if (p->is_bad || !str_has_prefix(p->at, token))
		return false;
	p->at += strlen(token);
	return true;
}

static void expect(struct parser *p, const char *token)
{
	if (!accept(p, token))
		bad(p, "expected \"%s\" before \"%.20s\"", token, p->at);
}

static uint16_t number(struct parser *p, enum cel_type type, int64_t value)
{
	return node(p, (struct cel_node){.op = CEL_OP_NUMBER, .type = type, .number = value});
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static uint16_t parse_integer(struct parser *p)
{
	bool is_hex = p->at[0] == '0' && (p->at[1] == 'x' || p->at[1] == 'X');
	char *end;
	long long value;

	errno = 0;
	value = strtoll(p->at, &end, is_hex ? 16 : 10);
	if (*end == 'u' || *end == 'U')
		end++;
	if (errno || is_word(*end) || *end == '.')
		return bad(p, "\"%.20s\" is no whole number", p->at);
	p->at = end;
	return number(p, CEL_INT, value);
}

static int escaped(struct parser *p)
{
	static const char from[] = "nrt\\'\"`?", to[] = "\n\r\t\\'\"`?";
	const char *known = *p->at ? strchr(from, *p->at) : NULL;

	if (!known) {
		bad(p, "the escape \"\\%.1s\" is not understood", p->at);
		return 0;
	}
	p->at++;
	return to[known - from];
}

/* The text of a literal, without its quotes, into the texts. Return: where it begins. */
static uint16_t parse_quoted(struct parser *p)
{
	uint16_t start = p->texts_len;
	bool is_raw = *p->at == 'r';
	char quote = *(p->at += is_raw);

	p->at++;
	while (*p->at != quote && !p->is_bad) {
		int c = (unsigned char)*p->at;

		if (!c) {
			bad(p, "a string does not end");
			return 0;
		}
		p->at++;
		if (c == '\\' && !is_raw)
			c = escaped(p);
		p->texts[p->texts_len++] = (char)c;
	}
	p->at += !p->is_bad;
	p->texts[p->texts_len++] = '\0';
	return start;
}

static bool at_quote(const char *s)
{
	return *s == '\'' || *s == '"' || (*s == 'r' && (s[1] == '\'' || s[1] == '"'));
}

static uint16_t parse_text(struct parser *p)
{
	uint16_t start = parse_quoted(p);

	return node(p, (struct cel_node){.op = CEL_OP_TEXT, .type = CEL_STRING, .number = start});
}

/* duration('1h30m'): whole numbers with units. */
static uint16_t parse_duration(struct parser *p)
{
	static const struct {
		const char *unit;
		int64_t ns;
	} units[] = {{"ns", 1},           {"us", 1000},         {"ms", 1000000},
		     {"s", 1000000000LL}, {"m", 60000000000LL}, {"h", 3600000000000LL}};
	int64_t sum = 0;
	const char *s;

	skip_space(p);
	if (!at_quote(p->at))
		return bad(p, "duration() takes a string such as '5s'");
	s = p->texts + parse_quoted(p);
	do {
		char *end;
		long long n = strtoll(s, &end, 10);
		size_t len = strspn(end, "nusmh"), i = 0;

		while (i < ARRAY_SIZE(units) &&
		       (strlen(units[i].unit) != len || strncmp(units[i].unit, end, len) != 0))
			i++;
		if (end == s || n < 0 || n > 1000000 || i == ARRAY_SIZE(units))
			return bad(p, "duration() takes a string such as '5s' or '1h30m'");
		sum += n * units[i].ns;
		s = end + len;
	} while (*s && sum < INT64_MAX / 4);
	return number(p, CEL_DURATION, sum);
}

static bool at_call(struct parser *p)
{
	skip_space(p);
	return *p->at == '(';
}

/* One more word of a path. Return: 0; -1 it does not fit. */
static int path_add(char *path, const char *word, size_t n)
{
	size_t len = strlen(path);

	if (len + n + 2 > PATH_MAX_LEN)
		return -1;
	if (len)
		path[len++] = '.';
	memcpy(path + len, word, n);
	path[len + n] = '\0';
	return 0;
}

static int path_index(struct parser *p, char *path)
{
	const char *word;

	skip_space(p);
	if (!at_quote(p->at))
		return -1;
	word = p->texts + parse_quoted(p);
	expect(p, "]");
	return path_add(path, word, strlen(word));
}

/* a.b['c'].d, up to a word that is called. */
static void parse_path(struct parser *p, char *path)
{
	*path = '\0';
	for (;;) {
		const char *start = p->at;
		size_t n = 0;

		while (is_word(start[n]))
			n++;
		p->at += n;
		if (*path && at_call(p)) {
			p->at = start - 1; /* at the dot of a method */
			return;
		}
		if (n == 0 || path_add(path, start, n) < 0) {
			bad(p, "a name is expected before \"%.20s\"", start);
			return;
		}
		while (accept(p, "["))
			if (path_index(p, path) < 0)
				bad(p, "%s[...] is not understood", path);
		if (*p->at != '.' || p->is_bad)
			return;
		p->at++;
	}
}

static uint16_t parse_attribute(struct parser *p, enum cel_op op)
{
	char path[PATH_MAX_LEN];

	skip_space(p);
	parse_path(p, path);
	for (size_t i = 0; p->attributes[i].name && !p->is_bad; i++) {
		if (!streq(p->attributes[i].name, path))
			continue;
		p->uses |= UINT64_C(1) << i;
		return node(p, (struct cel_node){.op = op,
						 .type = op == CEL_OP_HAS ? CEL_BOOL
									  : p->attributes[i].type,
						 .number = (int64_t)i});
	}
	return bad(p, "%s has no meaning here", path);
}

static uint16_t parse_any(struct parser *p);

static uint16_t parse_function(struct parser *p, const char *name)
{
	bool is_size = streq(name, "size");
	uint16_t of;

	expect(p, "(");
	if (streq(name, "has"))
		of = parse_attribute(p, CEL_OP_HAS);
	else if (streq(name, "duration"))
		of = parse_duration(p);
	else if (is_size || streq(name, "string")) {
		of = parse_any(p);
		if (is_size && type_of(p, of) != CEL_STRING)
			return bad(p, "size() takes a string");
		of = node(p, (struct cel_node){.op = is_size ? CEL_OP_SIZE : CEL_OP_STRING,
					       .type = is_size ? CEL_INT : CEL_STRING,
					       .a = of});
	} else
		return bad(p, "the function %s() is not understood", name);
	expect(p, ")");
	return of;
}

static uint16_t parse_name(struct parser *p)
{
	char name[PATH_MAX_LEN] = "";
	const char *start = p->at;
	size_t n = 0;

	while (is_word(start[n]))
		n++;
	if (path_add(name, start, n) < 0)
		return bad(p, "\"%.20s\" is too long", start);
	p->at += n;
	if (at_call(p))
		return parse_function(p, name);
	if (streq(name, "true") || streq(name, "false"))
		return number(p, CEL_BOOL, *name == 't');
	p->at = start;
	return parse_attribute(p, CEL_OP_ATTRIBUTE);
}

static uint16_t parse_primary(struct parser *p)
{
	uint16_t of;

	skip_space(p);
	if (accept(p, "(")) {
		of = parse_any(p);
		expect(p, ")");
		return of;
	}
	if (at_quote(p->at))
		return parse_text(p);
	if (isdigit((unsigned char)*p->at) || (*p->at == '-' && isdigit((unsigned char)p->at[1])))
		return parse_integer(p);
	if (isalpha((unsigned char)*p->at) || *p->at == '_')
		return parse_name(p);
	return bad(p, "a value is expected %s%.20s", *p->at ? "before " : "at the end", p->at);
}

static uint16_t parse_member(struct parser *p)
{
	static const struct {
		const char *name;
		enum cel_op op;
	} methods[] = {{"startsWith", CEL_OP_STARTS_WITH},
		       {"endsWith", CEL_OP_ENDS_WITH},
		       {"contains", CEL_OP_CONTAINS},
		       {"size", CEL_OP_SIZE}};
	uint16_t of = parse_primary(p);

	while (accept(p, ".")) {
		size_t i = 0, n = strcspn(p->at, "( \t\n");
		struct cel_node call = {.type = CEL_BOOL, .a = of};

		while (i < ARRAY_SIZE(methods) &&
		       (strlen(methods[i].name) != n || strncmp(methods[i].name, p->at, n) != 0))
			i++;
		if (i == ARRAY_SIZE(methods) || type_of(p, of) != CEL_STRING)
			return bad(p, "the function .%.*s() is not understood", (int)MIN(n, 40u),
				   p->at);
		p->at += n;
		call.op = methods[i].op;
		expect(p, "(");
		if (call.op == CEL_OP_SIZE)
			call.type = CEL_INT;
		else if (call.b = parse_any(p), type_of(p, call.b) != CEL_STRING)
			return bad(p, "%s() takes a string", methods[i].name);
		expect(p, ")");
		of = node(p, call);
	}
	return of;
}

static uint16_t parse_unary(struct parser *p)
{
	uint16_t of;

	if (++p->depth > CEL_DEPTH_MAX)
		bad(p, "it is nested too deeply");
	if (!accept(p, "!")) {
		of = p->is_bad ? 0 : parse_member(p);
		p->depth--;
		return of;
	}
	of = parse_unary(p);
	p->depth--;
	if (type_of(p, of) != CEL_BOOL)
		return bad(p, "! takes true or false");
	return node(p, (struct cel_node){.op = CEL_OP_NOT, .type = CEL_BOOL, .a = of});
}

/* [ value, ... ] Return: the first item, 0 when there is none. */
static uint16_t parse_list(struct parser *p, enum cel_type type)
{
	uint16_t first = 0, last = 0;

	expect(p, "[");
	if (accept(p, "]"))
		return 0;
	do {
		uint16_t value = parse_any(p), item;

		if (!p->is_bad && type_of(p, value) != type)
			bad(p, "a list holds another type than what is looked for in it");
		item = node(p, (struct cel_node){.op = CEL_OP_ITEM, .type = type, .a = value});
		if (last)
			p->nodes[last].b = item;
		first = first ? first : item;
		last = item;
	} while (accept(p, ","));
	expect(p, "]");
	return first;
}

static bool accept_in(struct parser *p)
{
	skip_space(p);
	if (p->is_bad || !str_has_prefix(p->at, "in") || is_word(p->at[2]))
		return false;
	p->at += 2;
	return true;
}

static uint16_t parse_relation(struct parser *p)
{
	static const struct {
		const char *token;
		enum cel_op op;
	} relations[] = {{"==", CEL_OP_EQ}, {"!=", CEL_OP_NE}, {"<=", CEL_OP_LE},
			 {">=", CEL_OP_GE}, {"<", CEL_OP_LT},  {">", CEL_OP_GT}};
	struct cel_node n = {.type = CEL_BOOL, .a = parse_unary(p)};
	size_t i = 0;

	if (accept_in(p)) {
		n.op = CEL_OP_IN;
		n.b = parse_list(p, type_of(p, n.a));
		return node(p, n);
	}
	while (i < ARRAY_SIZE(relations) && !accept(p, relations[i].token))
		i++;
	if (i == ARRAY_SIZE(relations))
		return n.a;
	n.op = relations[i].op;
	n.b = parse_unary(p);
	if (type_of(p, n.a) != type_of(p, n.b))
		return bad(p, "%s compares two different types", relations[i].token);
	if (type_of(p, n.a) == CEL_BOOL && n.op > CEL_OP_NE)
		return bad(p, "%s does not compare true and false", relations[i].token);
	return node(p, n);
}

static uint16_t parse_logic(struct parser *p, bool is_or)
{
	uint16_t of = is_or ? parse_logic(p, false) : parse_relation(p);

	while (accept(p, is_or ? "||" : "&&")) {
		struct cel_node n = {
			.op = is_or ? CEL_OP_OR : CEL_OP_AND, .type = CEL_BOOL, .a = of};

		n.b = is_or ? parse_logic(p, false) : parse_relation(p);
		if (type_of(p, n.a) != CEL_BOOL || type_of(p, n.b) != CEL_BOOL)
			return bad(p, "%s takes true or false", is_or ? "||" : "&&");
		of = node(p, n);
	}
	return of;
}

static uint16_t parse_any(struct parser *p)
{
	uint16_t of;

	if (++p->depth > CEL_DEPTH_MAX)
		bad(p, "it is nested too deeply");
	of = p->is_bad ? 0 : parse_logic(p, true);
	if (accept(p, "?")) {
		struct cel_node n = {.op = CEL_OP_IF, .a = of};

		n.b = parse_any(p);
		expect(p, ":");
		n.c = parse_any(p);
		n.type = type_of(p, n.b);
		if (type_of(p, n.a) != CEL_BOOL || type_of(p, n.b) != type_of(p, n.c))
			return bad(p, "? : takes a condition and two values of one type");
		of = node(p, n);
	}
	p->depth--;
	return of;
}

static int program_new(const struct parser *p, uint16_t root, struct cel **ret)
{
	size_t nodes = p->count * sizeof(struct cel_node);
	size_t size = sizeof(struct cel) + nodes + p->texts_len;
	struct cel *c = calloc(1, size);

	if (!c)
		return -ENOMEM;
	c->size = (uint32_t)size;
	c->root = root;
	c->texts_at = (uint16_t)(sizeof(*c) + nodes);
	c->uses = p->uses;
	memcpy(c->nodes, p->nodes, nodes);
	memcpy((char *)c + c->texts_at, p->texts, p->texts_len);
	*ret = c;
	return 0;
}

int cel_parse(const char *text, const struct cel_attribute *attributes, struct cel **ret,
	      struct cel_problem *problem)
{
	struct parser p = {.at = text, .attributes = attributes, .problem = problem, .count = 1};
	uint16_t root;

	if (strlen(text) > CEL_TEXT_MAX)
		bad(&p, "it is longer than %d bytes", CEL_TEXT_MAX);
	root = parse_any(&p);
	skip_space(&p);
	if (*p.at)
		bad(&p, "\"%.20s\" is not understood", p.at);
	return p.is_bad ? -EINVAL : program_new(&p, root, ret);
}
