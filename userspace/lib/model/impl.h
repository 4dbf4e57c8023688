/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* impl - the inside of a model, for the files of this folder only.
 * An object lives in an entity. A change files the entity anew in the indexes and marks what it
 * touches dirty; the flush works out the messages of what is dirty and emits those that differ from
 * what was emitted last. */
#include <stdbool.h>
#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/list.h"
#include "base/map.h"
#include "model/scratch.h"
#include "base/index.h"
#include "model/model.h"
#include "model/output.h"
#include "model/selector.h"
#include "model/vip.h"
#include "net/addr.h"
#include "source/pod_facts.h"

#define MODEL_KEY_MAX      SELECTOR_KEY_MAX
#define STATIC_STRICT      "istio_converted_static_strict"
#define CONVERTED_PEER     "converted_peer_authentication_"
#define SERVICE_NAME_LABEL "kubernetes.io/service-name"
#define GROUP_ANNOTATION   "istio.io/autoRegistrationGroup" /* of a WorkloadEntry */
/* The host name of a Service, "name.ns.svc.domain", as texts for *_concat(). With "ns/" before it,
 * the name of its resource. */
#define SERVICE_HOST(m, ns, name) (name), ".", (ns), ".svc.", (m)->cluster_domain

enum entity_kind {
	ENTITY_NAMESPACE,
	ENTITY_NODE,
	ENTITY_POD,
	ENTITY_SERVICE,
	ENTITY_SLICE,  /* EndpointSlice */
	ENTITY_PEER,   /* PeerAuthentication */
	ENTITY_POLICY, /* AuthorizationPolicy */
	ENTITY_SERVICE_ENTRY,
	ENTITY_WORKLOAD_GROUP, /* before the entries that look at it */
	ENTITY_WORKLOAD_ENTRY,
	ENTITY_TELEMETRY,
	ENTITY_KIND_MAX,
};

/** struct entity - one object and its place in the model; first member of the kinds below. */
struct entity {
	enum entity_kind kind;
	const char *key; /* the map's: "namespace/name" */
	struct object *object;
	struct list dirty;    /* in model.dirty[kind] */
	uint64_t report_hash; /* of the messages about it that stand with the user; 0: none */
};

struct pod {
	struct entity e;
	const struct pod_facts *facts; /* the object's; NULL while it is not filed */
	struct index_link in_namespace, in_node;
	struct index_link *links; /* owned; one per address, then one per label */
	size_t links_count, addr_links_count;
};

struct service {
	struct entity e;
	const json_t *selector; /* the object's; NULL: none */
	struct index_link in_selector, in_namespace;
};

/** struct endpoint - one address of an EndpointSlice, or the pod that it names. */
struct endpoint {
	size_t position; /* in the slice's list */
	struct cv_addr addr;
	bool is_pod, is_ready;  /* the slice names a pod; it serves */
	struct index_link link; /* by pod or by address */
	struct index_link in_node;
};

/** struct slice_output - the name of a resource that a slice, or a ServiceEntry, gave. */
struct slice_output {
	struct list link;
	char name[];
};

struct slice {
	struct entity e;
	struct index_link in_service;
	struct endpoint *endpoints; /* owned */
	size_t endpoints_count;
	struct list outputs; /* names of the workloads that it gave, struct slice_output */
};

/** struct entry_host - one of spec.hosts, the first of those that are one name. */
struct entry_host {
	struct index_link link, in_mesh; /* in_mesh: of an entry that every namespace sees */
	char *name;                      /* owned; in lower case, no dot at its end */
	size_t at;                       /* in spec.hosts */
	bool has_vip;
};

struct service_entry {
	struct entity e;
	struct index_link in_selector, in_namespace;
	struct entry_host *hosts; /* owned */
	size_t hosts_count;
	struct index_link *targets; /* owned; addresses of its endpoints */
	size_t targets_count;
	struct list outputs;   /* names of what it gave, struct slice_output */
	bool is_named_instead; /* of resolution NONE, and resolved as with DNS: REGISTRY_ONLY */
};

struct workload_entry {
	struct entity e;
	struct index_link in_namespace, in_addr;
	json_t *labels, *spec; /* owned: with what its group adds */
};

struct peer {
	struct entity e;
	const json_t *selector;         /* borrowed from the object; NULL: the whole namespace */
	struct index_link in_selector;  /* or in m->peers_wide */
	struct index_link in_namespace; /* those with selector, in m->peers_wide by "ns\n" */
};

struct policy {
	struct entity e;
	const json_t *selector;
	struct index_link in_selector; /* unfiled without a selector, or when not sent */
};

/** struct output - one resource as it was emitted last. */
struct output {
	uint64_t hash;
	size_t len;
	enum xds_type type;
	bool is_emitted, is_unset;
	struct list unset; /* in model.unset */
	const char *name;  /* the map's */
};

#define REPORTS_MAX 32 /* of one object */

/** struct report - one message about the object being worked on. */
struct report {
	char field[256], message[256];
	bool is_warning;
};

struct model {
	const struct model_ops *ops;
	void *arg;
	char *cluster_id, *trust_domain, *root_namespace, *cluster_domain;
	char **aliases; /* of the trust domain */
	size_t alias_count;
	bool is_registry_only;    /* see model_set_registry_only() */
	json_t *entry_visibility; /* counted; NULL: see model_set_entry_visibility() */
	struct map *entities[ENTITY_KIND_MAX];
	struct list dirty[ENTITY_KIND_MAX];
	struct map *outputs[XDS_TYPE_MAX];
	struct list unset;
	struct map *alikes; /* of the flush at hand, see alike.h */
	struct scratch alike_memory;
	struct report reports[REPORTS_MAX];
	size_t reports_count;
	struct index pods_by_namespace;     /* "ns" */
	struct index pods_by_node;          /* "node" */
	struct index pods_by_addr;          /* addr_key() */
	struct index pods_by_label;         /* "ns\nkey\nvalue" */
	struct index services_by_label;     /* the same, by one pair of the selector */
	struct index services_by_namespace; /* "ns" */
	struct index policies_by_label;     /* the same; "ns\n" for an empty selector; but not */
	struct index root_policies;         /* those of the root namespace: mostly there are none */
	struct index peers_by_label;        /* the same */
	struct index peers_wide;            /* "ns": without selector; "ns\n": with */
	struct index slices_by_service;     /* "ns/service" */
	struct index slices_by_node;        /* "node", of endpoints that are no pods */
	/* of ServiceEntries: "ns/host", and "/host" of those that everybody sees */
	struct index entries_by_host;
	struct {
		const struct index_bucket *bucket; /* NULL: unknown */
		const struct service_entry *entry;
	} first; /* service_entry_first() of one host, while no host changes hands */
	struct index entries_by_namespace; /* "ns" */
	struct index entries_by_label;     /* as services_by_label, by workloadSelector */
	/* addr_key() of their endpoints and of WorkloadEntries: owner is a struct entity */
	struct index entries_by_addr;
	struct index workload_entries; /* "ns" */
	struct index telemetries;      /* as policies_by_label */
	struct vip_pool vips;
	/* pod_key() or addr_key(): owner is the struct slice */
	struct index endpoints_by_target;
};

/* entities, model.c */
/** entity_find() - Return: borrowed; NULL: there is none. */
struct entity *entity_find(const struct model *m, enum entity_kind kind, const char *namespace_,
			   const char *name);
/** entity_mark() - the next flush works out its messages anew. */
void entity_mark(struct model *m, struct entity *e);
/** pod_is_enrolled() - do its labels and its namespace's have it in the mesh? */
bool pod_is_enrolled(const struct model *m, const struct object *pod);

/* Per kind: _unlink() takes an entity out of the indexes, marking what it touched; _link() files
 * it, likewise; _flush() sets the outputs of a dirty one and reports what is wrong with it. Return:
 * 0; -ENOMEM (it may be half done: put the object, or flush, again); of a flush also what
 * on_resource() returned. */
void pod_unlink(struct model *m, struct pod *p);
_must_check_ int pod_link(struct model *m, struct pod *p);
_must_check_ int pod_flush(struct model *m, struct pod *p);
void service_unlink(struct model *m, struct service *s);
_must_check_ int service_link(struct model *m, struct service *s);
_must_check_ int service_flush(struct model *m, struct service *s);
void slice_unlink(struct model *m, struct slice *s);
_must_check_ int slice_link(struct model *m, struct slice *s);
_must_check_ int slice_flush(struct model *m, struct slice *s);
void service_entry_unlink(struct model *m, struct service_entry *s);
_must_check_ int service_entry_link(struct model *m, struct service_entry *s);
_must_check_ int service_entry_flush(struct model *m, struct service_entry *s);
void workload_entry_unlink(struct model *m, struct workload_entry *w);
_must_check_ int workload_entry_link(struct model *m, struct workload_entry *w);
_must_check_ int workload_entry_flush(struct model *m, struct workload_entry *w);
/** workload_group_change() - a group came, changed or goes: its entries are filed anew. */
_must_check_ int workload_group_change(struct model *m, const struct entity *group);
_must_check_ int workload_group_flush(struct model *m, struct entity *group);
void peer_unlink(struct model *m, struct peer *p);
_must_check_ int peer_link(struct model *m, struct peer *p);
_must_check_ int peer_flush(struct model *m, struct peer *p);
void policy_unlink(struct model *m, struct policy *p);
_must_check_ int policy_link(struct model *m, struct policy *p);
_must_check_ int policy_flush(struct model *m, struct policy *p);

/* shared between kinds */
/** pods_mark_bucket() - entity_mark() of the pods in it; @b: or NULL. */
void pods_mark_bucket(struct model *m, const struct index_bucket *b);
/** addr_key() - the key of an address in the indexes: short, without a blank, so no pod_key(). */
void addr_key(char buf[MODEL_KEY_MAX], const struct cv_addr *a);
/** pod_key() - the key of a pod in m->endpoints_by_target. */
void pod_key(char buf[MODEL_KEY_MAX], const struct pod *p);
/** service_entry_mark() - entity_mark(), also of the pods that it selects; its outputs are unset.
 */
void service_entry_mark(struct model *m, struct service_entry *s);
/** service_entries_mark_moved() - those of any namespace: the automatic address of @host is another
 * one. @arg: the model. */
void service_entries_mark_moved(void *arg, const char *host);
/** service_entries_mark_addr() - what has an endpoint there, WorkloadEntries, too. @key: as
 * addr_key() makes it. */
void service_entries_mark_addr(struct model *m, const char *key);
/** static_strict_flush() - the policy that STRICT becomes where it has no exceptions. Return: as
 * output_set(). */
_must_check_ int static_strict_flush(struct model *m);
