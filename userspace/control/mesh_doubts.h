/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* mesh_doubts - what a MeshConfig that is in order asks for and does not get. No state. */
#include "control.h"
#include "source/object.h"

/** mesh_doubts_tell() - of c->mesh, as it was read from @obj: into c->problems, as warnings. */
void mesh_doubts_tell(struct control *c, const struct object *obj);
