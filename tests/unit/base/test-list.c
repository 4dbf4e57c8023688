/* SPDX-License-Identifier: Apache-2.0 */
/* list - what a compiler makes of it: heads and elements are reached through types of their own. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

struct item {
	long before;
	struct list link;
	int number;
};

struct lists {
	struct list later, now, held;
	int sum;
};

static void move_all(struct list *from, struct list *to)
{
	while (!list_is_empty(from)) {
		struct list *n = from->next;

		list_del(n);
		list_add_tail(to, n);
	}
}

/* Of @held both the head, through the one type, and its elements, through the other, are read: gcc
 * 12 takes the two for apart by their types, and asks only once whether it is empty. */
__attribute__((noinline)) static void lists_go_on(struct lists *s)
{
	move_all(&s->held, &s->now);
	while (!list_is_empty(&s->later)) {
		struct item *i = list_entry(s->later.next, struct item, link);
		const struct item *held;

		list_del(&i->link);
		if (i->number == 1)
			list_for_each_entry (held, &s->held, link)
				s->sum += held->number;
	}
}

static void what_is_moved_is_not_there_any_more(void **state)
{
	struct item a = {.number = 1}, b = {.number = 2};
	struct lists s = {0};

	list_init(&s.later);
	list_init(&s.now);
	list_init(&s.held);
	list_add_tail(&s.later, &a.link);
	list_add_tail(&s.held, &b.link);
	(void)alarm(10); /* else it would go on forever */
	lists_go_on(&s);
	(void)alarm(0);
	assert_true(list_is_empty(&s.held) && list_is_empty(&s.later));
	assert_ptr_equal(s.now.next, &b.link);
	assert_int_equal(s.sum, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_moved_is_not_there_any_more)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
