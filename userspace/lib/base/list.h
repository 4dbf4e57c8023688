/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* list - intrusive doubly linked list, circular, with a head. Owner: whoever holds the head. No
 * locking. */
#include <stdbool.h>
#include <stddef.h>

#include "macros.h"

struct list {
	struct list *next, *prev;
};

#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

/** list_add_tail() - put @n last. @n must not be in a list. */
static inline void list_add_tail(struct list *head, struct list *n)
{
	n->prev = head->prev;
	n->next = head;
	head->prev->next = n;
	head->prev = n;
}

/** list_add() - put @n first. @n must not be in a list. */
static inline void list_add(struct list *head, struct list *n)
{
	list_add_tail(head->next, n);
}

/** list_is_in() - is @n in a list? False of one that is zeroed or was taken out. */
static inline bool list_is_in(const struct list *n)
{
	return n->next && !list_is_empty(n);
}

/** list_del() - take @n out and leave it an empty list, so that a second list_del() is harmless. */
static inline void list_del(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)

#define list_for_each_entry(pos, head, member)                                                     \
	for (pos = list_entry((head)->next, __typeof__(*pos), member); &pos->member != (head);     \
	     pos = list_entry(pos->member.next, __typeof__(*pos), member))

#define list_for_each_entry_safe(pos, tmp, head, member)                                           \
	for (pos = list_entry((head)->next, __typeof__(*pos), member),                             \
	    tmp = list_entry(pos->member.next, __typeof__(*pos), member);                          \
	     &pos->member != (head);                                                               \
	     pos = tmp, tmp = list_entry(tmp->member.next, __typeof__(*tmp), member))
