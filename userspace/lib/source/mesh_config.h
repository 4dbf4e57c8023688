/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* mesh_config - Istio's MeshConfig: the text under `mesh` in ConfigMap "istio" of the namespace in
 * which the mesh is installed. No state. */
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "source/object.h"
#include "source/source.h"

#define MESH_CONFIG_NAME "istio"

/** struct mesh_config - what is used of it; NULL: not set. Zeroed before use. */
struct mesh_config {
	char *trust_domain, *root_namespace, *access_log_file;
	json_t *trust_domain_aliases; /* list of strings */
	json_t *discovery_selectors;  /* list of label selectors */
	json_t *entry_visibility;     /* serviceEntryVisibility, checked */
	bool is_registry_only;        /* outboundTrafficPolicy.mode */
	bool has_drain;
	uint64_t drain_ms; /* defaultConfig.terminationDrainDuration */
};

/**
 * mesh_config_read() - read and check the text in a ConfigMap
 * @on_error: each mistake, with the line in the manifest; a mistake leaves all of @ret untouched.
 * And, as warnings, what has a meaning at layer 4 and is not honoured.
 * @ret: owned by the caller; mesh_config_clear().
 * Return: 0; -EINVAL told by @on_error; -ENOMEM.
 */
_must_check_ int mesh_config_read(const struct object *map,
				  void (*on_error)(void *arg, const struct source_error *err),
				  void *arg, struct mesh_config *ret);
/** struct mesh_config_search - where it is looked for; all borrowed. */
struct mesh_config_search {
	struct loop *loop;      /* runs meanwhile; loop_stop() ends the waiting */
	const char *folder;     /* of manifests */
	const char *namespace_; /* where the mesh is installed */
	/* as of mesh_config_read(), and for each mistake of a file in which it may stand; once */
	void (*on_error)(void *arg, const struct source_error *err);
	void *arg;
};

/**
 * mesh_config_find() - look for it in a folder; one with a mistake, or that may stand in a file
 * that cannot be taken apart, is waited for until somebody has mended it. For what must be known
 * before anything else starts. Return: 0, also when there is none; -errno of the folder; -EINTR
 * stopped; -ENOMEM.
 */
_must_check_ int mesh_config_find(const struct mesh_config_search *search, struct mesh_config *ret);
void mesh_config_clear(struct mesh_config *c);
