/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* cel_program - a program as cel_parse.c makes it and cel.c runs it. For these two files only. */
#include "cel.h"

#define CEL_NODES_MAX 128
#define CEL_DEPTH_MAX 24

enum cel_op {
	CEL_OP_NUMBER,    /* number */
	CEL_OP_TEXT,      /* number: offset in the texts */
	CEL_OP_ATTRIBUTE, /* number */
	CEL_OP_NOT,
	CEL_OP_AND,
	CEL_OP_OR,
	CEL_OP_IF, /* a ? b : c */
	CEL_OP_EQ,
	CEL_OP_NE,
	CEL_OP_LT,
	CEL_OP_LE,
	CEL_OP_GT,
	CEL_OP_GE,
	CEL_OP_IN,  /* a in the list b */
	CEL_OP_HAS, /* number: attribute */
	CEL_OP_SIZE,
	CEL_OP_STRING,
	CEL_OP_STARTS_WITH,
	CEL_OP_ENDS_WITH,
	CEL_OP_CONTAINS,
	CEL_OP_ITEM, /* of a list: a is the value, b the next item or 0 */
};

struct cel_node {
	uint8_t op;   /* enum cel_op */
	uint8_t type; /* enum cel_type */
	uint16_t a, b, c;
	int64_t number;
};

struct cel {
	uint32_t size;
	uint16_t root;
	uint16_t texts_at; /* offset of the texts, after the nodes */
	uint64_t uses;
	struct cel_node nodes[];
};
