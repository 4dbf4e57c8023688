/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log_filter.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define SCOPE_MAX 64
#define PREFIX    "ztunnel::"

struct scope {
	char name[SCOPE_MAX];
	enum log_level level;
};

struct filter {
	enum log_level level;
	struct scope scopes[LOG_FILTER_SCOPES];
	size_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct filter current = {.level = LOG_INFO}; /* under the lock */
/* The most that any scope lets through, and whether scopes differ: most lines need no lock. */
static _Atomic(enum log_level) most = LOG_INFO;
static atomic_bool has_scopes;

static void publish(const struct filter *f)
{
	enum log_level max = f->level;

	current = *f;
	for (size_t i = 0; i < f->count; i++)
		if (f->scopes[i].level > max)
			max = f->scopes[i].level;
	atomic_store_explicit(&has_scopes, f->count > 0, memory_order_relaxed);
	atomic_store_explicit(&most, max, memory_order_relaxed);
}

static const char *bare(const char *name)
{
	return str_has_prefix(name, PREFIX) ? name + strlen(PREFIX) : name;
}

static const struct scope *scope_find(const struct filter *f, const char *name)
{
	for (size_t i = 0; i < f->count; i++)
		if (streq(bare(f->scopes[i].name), bare(name)))
			return &f->scopes[i];
	return NULL;
}

static int scope_put(struct filter *f, const char *name, enum log_level level)
{
	struct scope *s = (struct scope *)scope_find(f, name);

	if (!s && f->count == LOG_FILTER_SCOPES)
		return -E2BIG;
	if (!s)
		s = &f->scopes[f->count++];
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	s->level = level;
	return 0;
}

static bool is_scope_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:.-");

	return n > 0 && !s[n] && n < SCOPE_MAX;
}

/* One directive, in place. */
static int directive_apply(struct filter *f, char *text)
{
	char *value = strchr(text, '=');
	enum log_level level;

	if (value)
		*value++ = '\0';
	level = log_level_from_string(value ? value : text);
	if (level == LOG_LEVEL_INVALID || (value && !is_scope_name(text)))
		return -EINVAL;
	if (value)
		return scope_put(f, text, level);
	f->level = level;
	return 0;
}

static int filter_parse(struct filter *f, const char *directives, char *err, size_t err_size)
{
	_cleanup_(freep) char *text = strdup(directives);
	char shown[SCOPE_MAX] = "";
	char *rest = text;
	char *one;
	int r = text ? 0 : -ENOMEM;

	while (r == 0 && (one = strsep(&rest, ",")) != NULL) {
		(void)snprintf(shown, sizeof(shown), "%.*s", SCOPE_MAX - 1, one);
		r = directive_apply(f, one);
	}
	if (r == -E2BIG)
		(void)snprintf(err, err_size, "expected at most %d scopes", LOG_FILTER_SCOPES);
	else if (r < 0)
		(void)snprintf(err, err_size,
			       "\"%s\": expected error, warn, info, debug, trace or off, or one of "
			       "them for a scope (access=off)",
			       shown);
	return r;
}

int log_filter_apply(const char *directives, char *err, size_t err_size)
{
	struct filter f;
	int r;

	(void)pthread_mutex_lock(&lock);
	f = current;
	r = filter_parse(&f, directives, err, err_size);
	if (r == 0)
		publish(&f);
	(void)pthread_mutex_unlock(&lock);
	return r;
}

int log_filter_set(const char *directives, char *err, size_t err_size)
{
	struct filter f = {.level = LOG_INFO};
	int r = filter_parse(&f, directives, err, err_size);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&lock);
	publish(&f);
	(void)pthread_mutex_unlock(&lock);
	return 0;
}

void log_filter_format(char *into, size_t size)
{
	size_t n = 0;

	into[0] = '\0';
	(void)pthread_mutex_lock(&lock);
	for (size_t i = 0; i < current.count && n < size; i++)
		n += (size_t)snprintf(into + n, size - n, "%s=%s,", current.scopes[i].name,
				      log_level_to_string(current.scopes[i].level));
	if (n < size)
		(void)snprintf(into + n, size - n, "%s", log_level_to_string(current.level));
	(void)pthread_mutex_unlock(&lock);
}

void log_set_level(enum log_level level)
{
	const struct filter f = {.level = level};

	(void)pthread_mutex_lock(&lock);
	publish(&f);
	(void)pthread_mutex_unlock(&lock);
}

enum log_level log_get_level(void)
{
	return atomic_load_explicit(&most, memory_order_relaxed);
}

bool log_is_on(enum log_level level, const char *target)
{
	const struct scope *s;
	bool is_on;

	if (level > log_get_level())
		return false;
	if (!atomic_load_explicit(&has_scopes, memory_order_relaxed))
		return true;
	(void)pthread_mutex_lock(&lock);
	s = scope_find(&current, target);
	is_on = level <= (s ? s->level : current.level);
	(void)pthread_mutex_unlock(&lock);
	return is_on;
}
