/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* output - what comes out of a model: resources that differ from those emitted last, and messages
 * about the entity being worked on. For the files of this folder only. */
#include <stdbool.h>

#include <protobuf-c/protobuf-c.h>

#include "base/macros.h"
#include "xds/types.h"

struct entity;
struct list;
struct model;
struct object;

/* output.c */
/** output_set() - emit @msg, borrowed, unless it is what was emitted last. Return: 0; -ENOMEM; what
 * on_resource() returned. */
_must_check_ int output_set(struct model *m, enum xds_type type, const char *name,
			    const ProtobufCMessage *msg);
/** output_unset() - removed at the end of the flush, unless it is set again until then. */
void output_unset(struct model *m, enum xds_type type, const char *name);
/** outputs_unset() - all of a list of struct slice_output, which is empty then. */
void outputs_unset(struct model *m, struct list *outputs);
/** output_sweep() - emit the removals. */
void output_sweep(struct model *m);
/** outputs_free() - forget what was emitted; the model is going. */
void outputs_free(struct model *m);

/* report.c: messages about the entity that is worked on, between _begin() and _commit() */
void report_begin(struct model *m);
/** report() - one more, cut where it is too long; beyond REPORTS_MAX they are left out. */
void report(struct model *m, const char *field, bool is_warning, const char *fmt, ...)
	_printf_(4, 5);
/** report_waypoint() - of a waypoint that @o asks for. */
void report_waypoint(struct model *m, const struct object *o);
/** report_commit() - tell those of @e, unless they are what was told last. */
void report_commit(struct model *m, struct entity *e);
/** report_clear() - what was told of @e holds no more. */
void report_clear(struct model *m, struct entity *e);
