/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/policy_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ztunnel/policy_anchor.h"
#include "ztunnel/policy_match.h"
#include "ztunnel/reflist.h"
#include "ztunnel/slots.h"

/* A rule where it is filed. Immutable, counted. */
struct filed_rule {
	atomic_uint refs;
	struct policy *policy; /* counted */
	const struct policy_rule *rule;
	uint32_t slot; /* its number in the set */
	struct anchor_choice at;
};

struct policy_set {
	atomic_uint refs;
	struct hamt *buckets; /* anchor -> slots of rules that are filed there */
	struct hamt *against; /* anchor -> slots of rules that match nothing that has it */
	struct hamt *rules;   /* slot -> struct filed_rule */
	struct hamt *members; /* policy key -> reflist of struct filed_rule */
	struct slots *used;   /* NULL: none */
	size_t counts[POLICY_CLASSES];
	size_t by_more; /* policies that are not policy_is_by_identity() */
	/* Lengths that are in use; those of removed rules stay, which costs a look-up and no more.
	 */
	struct anchor_lengths lengths;
};

static void *filed_rule_ref(void *value)
{
	struct filed_rule *f = value;

	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
	return f;
}

static void filed_rule_unref(void *value)
{
	struct filed_rule *f = value;

	if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
		return;
	policy_unref(f->policy);
	free(f);
}

static const void *filed_rule_key(const void *value, size_t *ret_len)
{
	const struct filed_rule *f = value;

	*ret_len = sizeof(f->slot);
	return &f->slot;
}

static const struct hamt_ops filed_rule_ops = {
	.ref = filed_rule_ref, .unref = filed_rule_unref, .key = filed_rule_key};

struct policy_set *policy_set_ref(struct policy_set *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

struct policy_set *policy_set_unref(struct policy_set *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	hamt_free(s->buckets);
	hamt_free(s->against);
	hamt_free(s->rules);
	hamt_free(s->members);
	slots_unref(s->used);
	free(s);
	return NULL;
}

static void *set_ref_value(void *s)
{
	return policy_set_ref(s);
}

static void set_unref_value(void *s)
{
	policy_set_unref(s);
}

const struct hamt_ops policy_set_hamt_ops = {.ref = set_ref_value, .unref = set_unref_value};

static int trie_copy(const struct hamt *old, const struct hamt_ops *ops, struct hamt **ret)
{
	return old ? hamt_clone(old, ret) : hamt_new(ops, ret);
}

static int set_copy(const struct policy_set *old, struct policy_set **ret)
{
	_cleanup_(policy_set_unrefp) struct policy_set *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
	if (old) {
		memcpy(s->counts, old->counts, sizeof(s->counts));
		s->lengths = old->lengths;
		s->by_more = old->by_more;
		s->used = old->used ? slots_ref(old->used) : NULL;
	}
	r = trie_copy(old ? old->buckets : NULL, &slots_hamt_ops, &s->buckets);
	if (r == 0)
		r = trie_copy(old ? old->against : NULL, &slots_hamt_ops, &s->against);
	if (r == 0)
		r = trie_copy(old ? old->rules : NULL, &filed_rule_ops, &s->rules);
	if (r == 0)
		r = trie_copy(old ? old->members : NULL, &reflist_hamt_ops, &s->members);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

/* What is done under each anchor of a rule. */
struct anchor_edit {
	struct policy_set *set;
	struct hamt *table;
	uint32_t slot;
	bool is_in;
};

static int on_anchor(void *arg, const struct anchor *anchor)
{
	_cleanup_(slots_unrefp) struct slots *l = NULL;
	struct anchor_edit *e = arg;
	int r = slots_change(hamt_get(e->table, anchor->key, anchor->len), e->slot, e->is_in, &l);

	if (r < 0)
		return r;
	if (l) {
		anchor_lengths_add(&e->set->lengths, anchor);
		return hamt_put(e->table, anchor->key, anchor->len, l);
	}
	r = hamt_del(e->table, anchor->key, anchor->len);
	return r == -ENOENT ? 0 : r;
}

static int on_anchor_count(void *arg, const struct anchor *anchor, size_t *ret_count)
{
	const struct policy_set *s = arg;
	const struct slots *l = hamt_get(s->buckets, anchor->key, anchor->len);

	*ret_count = l ? l->count : 0;
	return 0;
}

static int slot_change(struct policy_set *s, struct filed_rule *f, bool is_in)
{
	struct slots *used = NULL;
	int r = slots_change(s->used, f->slot, is_in, &used);

	if (r < 0)
		return r;
	slots_unref(s->used);
	s->used = used;
	return is_in ? hamt_put(s->rules, &f->slot, sizeof(f->slot), f)
		     : hamt_del(s->rules, &f->slot, sizeof(f->slot));
}

static int rule_file(struct policy_set *s, struct filed_rule *f, bool is_in)
{
	struct anchor_edit e = {.set = s, .table = s->buckets, .slot = f->slot, .is_in = is_in};
	enum policy_class class = policy_class_of(f->policy);
	int r = slot_change(s, f, is_in);

	if (r == 0)
		r = anchors_visit(class, f->rule, &f->at, on_anchor, &e);
	e.table = s->against;
	return r ? r : anchors_against_visit(class, f->rule, on_anchor, &e);
}

static int filed_rule_new(struct policy_set *s, struct policy *p, const struct policy_rule *rule,
			  struct filed_rule **ret)
{
	size_t matches = 0;
	struct filed_rule *f;

	for (size_t i = 0; i < rule->count; i++)
		matches = MAX(matches, rule->clauses[i].count);
	f = calloc(1, sizeof(*f) + matches * sizeof(f->at.fields[0]));
	if (!f)
		return -ENOMEM;
	atomic_init(&f->refs, 1);
	f->policy = policy_ref(p);
	f->rule = rule;
	f->slot = slots_first_free(s->used);
	anchor_choose(policy_class_of(p), rule, on_anchor_count, s, &f->at);
	*ret = f;
	return 0;
}

/* A policy that could not be understood matches everything. */
static const struct policy_rule rule_of_all = {0};

static const struct policy_rule *policy_rule_at(const struct policy *p, size_t i)
{
	return p->is_broken ? &rule_of_all : &p->rules[i];
}

static int rules_file(struct policy_set *s, struct policy *p, struct reflist *into, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct filed_rule *f;
		int r = filed_rule_new(s, p, policy_rule_at(p, i), &f);

		if (r < 0)
			return r;
		into->items[into->count++] = f;
		r = rule_file(s, f, true);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_add(struct policy_set *s, struct policy *p)
{
	_cleanup_(reflist_unrefp) struct reflist *l = NULL;
	size_t n = p->is_broken ? 1 : p->count;
	int r;

	l = malloc(sizeof(*l) + n * sizeof(l->items[0]));
	if (!l)
		return -ENOMEM;
	atomic_init(&l->refs, 1);
	l->ops = &filed_rule_ops;
	l->count = 0;
	r = rules_file(s, p, l, n);
	if (r == 0)
		r = hamt_put_str(s->members, p->key, l);
	if (r < 0)
		return r;
	s->counts[policy_class_of(p)]++;
	s->by_more += !policy_is_by_identity(p);
	return 0;
}

static int set_del(struct policy_set *s, const struct policy *p)
{
	struct reflist *l = hamt_get_str(s->members, p->key);

	if (!l)
		return 0;
	for (size_t i = 0; i < l->count; i++) {
		int r = rule_file(s, l->items[i], false);

		if (r < 0)
			return r;
	}
	s->counts[policy_class_of(p)]--;
	s->by_more -= !policy_is_by_identity(p);
	return hamt_del_str(s->members, p->key);
}

int policy_set_change(const struct policy_set *old, const struct policy *gone, struct policy *added,
		      struct policy_set **ret)
{
	_cleanup_(policy_set_unrefp) struct policy_set *s = NULL;
	int r = set_copy(old, &s);

	if (r == 0 && gone)
		r = set_del(s, gone);
	if (r == 0 && added)
		r = set_add(s, added);
	if (r < 0)
		return r;
	*ret = hamt_count(s->members) ? TAKE_PTR(s) : NULL;
	return 0;
}

size_t policy_set_count(const struct policy_set *s, enum policy_class class)
{
	return s ? s->counts[class] : 0;
}

bool policy_set_has(const struct policy_set *s, const char *key)
{
	return s && hamt_get_str(s->members, key);
}

bool policy_set_is_by_identity(const struct policy_set *s)
{
	return !s || s->by_more == 0;
}

/* A decision on its way. */
struct search {
	const struct policy_set *set;
	const struct policy_subject *subject;
	enum policy_class class;
	const struct policy *found;
	/* Rules that what the connection has is against: some of them, they are but spared. */
	const struct slots *against[SLOTS_BUT_MAX];
	size_t against_count;
	bool has_against;
};

static int on_own_against(void *arg, const struct anchor *anchor)
{
	struct search *s = arg;
	const struct slots *l = hamt_get(s->set->against, anchor->key, anchor->len);

	if (l)
		s->against[s->against_count++] = l;
	return s->against_count == ARRAY_SIZE(s->against);
}

/* Asked for when more than one rule is at hand, which is seldom. */
static void search_against(struct search *s)
{
	if (s->has_against)
		return;
	s->has_against = true;
	if (hamt_count(s->set->against) > 0)
		(void)anchors_of_subject(s->class, s->subject, &s->set->lengths, on_own_against, s);
}

static int on_own_anchor(void *arg, const struct anchor *anchor)
{
	struct search *s = arg;
	struct slots_walk w = {.of = hamt_get(s->set->buckets, anchor->key, anchor->len)};
	uint32_t slot;

	if (!w.of)
		return 0;
	if (w.of->count > 1)
		search_against(s);
	w.but = s->against;
	w.but_count = s->against_count;
	while (slots_next(&w, &slot)) {
		const struct filed_rule *f = hamt_get(s->set->rules, &slot, sizeof(slot));

		if (!policy_rule_is_match(f->rule, s->subject))
			continue;
		s->found = f->policy;
		return 1;
	}
	return 0;
}

const struct policy *policy_set_find(const struct policy_set *s, enum policy_class class,
				     const struct policy_subject *subject)
{
	struct search search = {.set = s, .subject = subject, .class = class};

	if (policy_set_count(s, class) > 0)
		(void)anchors_of_subject(class, subject, &s->lengths, on_own_anchor, &search);
	return search.found;
}
