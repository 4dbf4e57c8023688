/* SPDX-License-Identifier: Apache-2.0 */
#include "cel.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cel_program.h"
#include "str.h"

enum cel_type cel_result(const struct cel *c)
{
	return c->nodes[c->root].type;
}

size_t cel_size(const struct cel *c)
{
	return c->size;
}

uint64_t cel_uses(const struct cel *c)
{
	return c->uses;
}

static int eval(const struct cel *c, size_t at, const struct cel_env *env, struct cel_value *ret);

/* An operand without a value does not matter where the other one decides. */
static int eval_logic(const struct cel *c, const struct cel_node *n, const struct cel_env *env,
		      struct cel_value *ret)
{
	bool decides = n->op == CEL_OP_OR;
	int a = eval(c, n->a, env, ret), b;

	if (a == 0 && (ret->number != 0) == decides)
		return 0;
	b = eval(c, n->b, env, ret);
	if (b == 0 && (ret->number != 0) == decides)
		return 0;
	return a < 0 ? a : b;
}

static int compare(const struct cel_node *n, const struct cel_value *a, const struct cel_value *b)
{
	if (n->type == CEL_STRING)
		return strcmp(a->text, b->text);
	return (a->number > b->number) - (a->number < b->number);
}

static bool is_true(enum cel_op op, int order)
{
	switch (op) {
	case CEL_OP_EQ:
		return order == 0;
	case CEL_OP_NE:
		return order != 0;
	case CEL_OP_LT:
		return order < 0;
	case CEL_OP_LE:
		return order <= 0;
	case CEL_OP_GT:
		return order > 0;
	default:
		return order >= 0;
	}
}

static bool text_holds(enum cel_op op, const char *text, const char *part)
{
	if (op == CEL_OP_STARTS_WITH)
		return str_has_prefix(text, part);
	return op == CEL_OP_ENDS_WITH ? str_has_suffix(text, part) : strstr(text, part) != NULL;
}

static int eval_two(const struct cel *c, const struct cel_node *n, const struct cel_env *env,
		    struct cel_value *ret)
{
	struct cel_value other = {.text = ""};
	int r = eval(c, n->a, env, ret);

	if (r == 0)
		r = eval(c, n->b, env, &other);
	if (r < 0)
		return r;
	if (n->op >= CEL_OP_STARTS_WITH)
		ret->number = text_holds(n->op, ret->text, other.text);
	else
		ret->number = is_true(n->op, compare(&c->nodes[n->a], ret, &other));
	return 0;
}

static int eval_in(const struct cel *c, const struct cel_node *n, const struct cel_env *env,
		   struct cel_value *ret)
{
	struct cel_value item = {.text = ""};
	bool is_in = false;
	int r = eval(c, n->a, env, ret);

	for (size_t at = n->b; at && r == 0 && !is_in; at = c->nodes[at].b) {
		r = eval(c, c->nodes[at].a, env, &item);
		is_in = r == 0 && compare(&c->nodes[n->a], ret, &item) == 0;
	}
	ret->number = is_in;
	return r;
}

static int eval_string(const struct cel_node *of, struct cel_value *ret)
{
	if (of->type == CEL_STRING)
		return 0;
	if (of->type == CEL_BOOL)
		(void)str_copy(ret->own, sizeof(ret->own), ret->number ? "true" : "false");
	else
		(void)snprintf(ret->own, sizeof(ret->own), "%" PRId64, ret->number);
	ret->text = ret->own;
	return 0;
}

static int eval_one(const struct cel *c, const struct cel_node *n, const struct cel_env *env,
		    struct cel_value *ret)
{
	int r = eval(c, n->a, env, ret);

	if (r < 0)
		return r;
	if (n->op == CEL_OP_STRING)
		return eval_string(&c->nodes[n->a], ret);
	ret->number = n->op == CEL_OP_NOT ? !ret->number : (int64_t)strlen(ret->text);
	return 0;
}

static int eval(const struct cel *c, size_t at, const struct cel_env *env, struct cel_value *ret)
{
	const struct cel_node *n = &c->nodes[at];
	int r;

	switch ((enum cel_op)n->op) {
	case CEL_OP_NUMBER:
		ret->number = n->number;
		return 0;
	case CEL_OP_TEXT:
		ret->text = (const char *)c + c->texts_at + n->number;
		return 0;
	case CEL_OP_ATTRIBUTE:
		return env->get(env->arg, (size_t)n->number, ret) ? 0 : -ENODATA;
	case CEL_OP_HAS:
		ret->number = env->get(env->arg, (size_t)n->number, ret);
		return 0;
	case CEL_OP_AND:
	case CEL_OP_OR:
		return eval_logic(c, n, env, ret);
	case CEL_OP_IF:
		r = eval(c, n->a, env, ret);
		return r < 0 ? r : eval(c, ret->number ? n->b : n->c, env, ret);
	case CEL_OP_IN:
		return eval_in(c, n, env, ret);
	case CEL_OP_NOT:
	case CEL_OP_SIZE:
	case CEL_OP_STRING:
		return eval_one(c, n, env, ret);
	default:
		return eval_two(c, n, env, ret);
	}
}

int cel_eval(const struct cel *c, const struct cel_env *env, struct cel_value *ret)
{
	return eval(c, c->root, env, ret);
}
