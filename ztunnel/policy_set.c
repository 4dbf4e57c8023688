/* SPDX-License-Identifier: Apache-2.0 */
#include "ztunnel/policy_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ztunnel/policy_anchor.h"
#include "ztunnel/policy_match.h"
#include "ztunnel/reflist.h"

/* A rule where it is filed. Immutable, counted. */
struct filed_rule {
	atomic_uint refs;
	struct policy *policy; /* counted */
	const struct policy_rule *rule;
	struct anchor_choice at;
};

struct policy_set {
	atomic_uint refs;
	struct hamt *buckets; /* anchor -> reflist of struct filed_rule */
	struct hamt *members; /* policy key -> reflist of struct filed_rule */
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

static const struct hamt_ops filed_rule_ops = {.ref = filed_rule_ref, .unref = filed_rule_unref};

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
	hamt_free(s->members);
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
	}
	r = old ? hamt_clone(old->buckets, &s->buckets) : hamt_new(&reflist_hamt_ops, &s->buckets);
	if (r == 0)
		r = old ? hamt_clone(old->members, &s->members)
			: hamt_new(&reflist_hamt_ops, &s->members);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

static int no_order(const void *a, const void *b)
{
	return 0;
}

/* What is done under each anchor of a rule. */
struct bucket_edit {
	struct policy_set *set;
	struct reflist_edit edit;
};

static int on_anchor(void *arg, const struct anchor *anchor)
{
	_cleanup_(reflist_unrefp) struct reflist *l = NULL;
	struct bucket_edit *e = arg;
	struct hamt *buckets = e->set->buckets;
	int r = reflist_change(hamt_get(buckets, anchor->key, anchor->len), &e->edit, &l);

	if (r < 0)
		return r;
	if (l) {
		anchor_lengths_add(&e->set->lengths, anchor);
		return hamt_put(buckets, anchor->key, anchor->len, l);
	}
	r = hamt_del(buckets, anchor->key, anchor->len);
	return r == -ENOENT ? 0 : r;
}

static int on_anchor_count(void *arg, const struct anchor *anchor, size_t *ret_count)
{
	const struct policy_set *s = arg;
	const struct reflist *l = hamt_get(s->buckets, anchor->key, anchor->len);

	*ret_count = l ? l->count : 0;
	return 0;
}

static int rule_file(struct policy_set *s, struct filed_rule *f, bool is_gone)
{
	/* naming it as gone too keeps it single under an anchor that it has twice */
	struct bucket_edit e = {.set = s,
				.edit = {.ops = &filed_rule_ops,
					 .gone = f,
					 .added = is_gone ? NULL : f,
					 .compare = no_order}};

	return anchors_visit(policy_class_of(f->policy), f->rule, &f->at, on_anchor, &e);
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
		r = rule_file(s, f, false);
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
		int r = rule_file(s, l->items[i], true);

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
	const struct policy *found;
};

static int on_own_anchor(void *arg, const struct anchor *anchor)
{
	struct search *s = arg;
	const struct reflist *l = hamt_get(s->set->buckets, anchor->key, anchor->len);

	for (size_t i = 0; l && i < l->count; i++) {
		const struct filed_rule *f = l->items[i];

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
	struct search search = {.set = s, .subject = subject};

	if (policy_set_count(s, class) > 0)
		(void)anchors_of_subject(class, subject, &s->lengths, on_own_anchor, &search);
	return search.found;
}
