/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* install_mesh - the MeshConfig that somebody wants installed, read as the control plane will read
 * it: what that refuses is refused before anything is made. One thread. */
#include <jansson.h>
#include <stdio.h>

#include "chart.h"

/** install_mesh_check() - @mesh is "meshConfig" of the chart's values. Return: 0; -EINVAL, @err
 * names the field; -ENOMEM. */
_must_check_ int install_mesh_check(const json_t *mesh, char err[CHART_ERROR_MAX]);
/** install_mesh_say_unknown() - a line for each key that no MeshConfig has, as far as is known
 * here: it may be another one, misspelt. */
void install_mesh_say_unknown(const json_t *mesh, FILE *f);
