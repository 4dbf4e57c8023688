/* SPDX-License-Identifier: Apache-2.0 */
#include "redact.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/str.h"
#include "json.h"
#include "kube.h"
#include "kube_kinds.h"
#include "redact_pairs.h"

#define DEPTH_MAX    64
#define WORD_MAX     128
#define TOKEN_MIN    16 /* shorter words after "Bearer" are prose */
#define KEY_END      "PRIVATE KEY-----"
#define PEM_HEAD_MAX 64
#define PEM_MAX      8192
/* "-----BEGIN" and " CERT" in base64: what else is said to begin there is taken for a key */
#define PEM_BASE64  "LS0tLS1CRUdJTi"
#define CERT_BASE64 "BDRVJU"
/* what others keep copies of objects in: Helm in ConfigMaps, Rancher in annotations */
#define GZIP_BASE64 "H4sI"
#define URL_MAX     512

static bool is_secret_text(const json_t *v)
{
	const char *s = json_string_value(v);
	const char *pem = s ? strstr(s, PEM_BASE64) : NULL;

	return s && (strstr(s, KEY_END) || str_has_prefix(s, GZIP_BASE64) ||
		     (pem && !str_has_prefix(pem + strlen(PEM_BASE64), CERT_BASE64)));
}

/* is_secret_word() - of a command's words: does this one name a secret? @ret_eq: its "=", if the
 * secret is in the same word. @ret_is_path: a file's name is none. */
static bool is_secret_word(const char *s, const char **ret_eq, bool *ret_is_path)
{
	char name[WORD_MAX];
	size_t n = strcspn(s, "= \n");

	*ret_eq = s[n] == '=' ? s + n : NULL;
	if (n == 0 || n >= sizeof(name) || (*ret_eq ? false : *s != '-'))
		return false;
	memcpy(name, s, n);
	name[n] = '\0';
	*ret_is_path = redact_is_path(name);
	return redact_is_secret(name);
}

/* words_walk() - "--token=abc", "--token abc" and "TOKEN=abc" among the words of a command. */
static void words_walk(json_t *words)
{
	bool is_next = false, is_path = false;
	json_t *child;
	size_t i;

	json_array_foreach (words, i, child) {
		const char *s = json_string_value(child), *eq = NULL;
		bool is_value = is_next && !(s && *s == '/' && is_path);

		is_next = false;
		if (!s)
			continue;
		if (is_secret_word(s, &eq, &is_path)) {
			is_next = !eq;
			if (eq && !(eq[1] == '/' && is_path))
				(void)json_array_set_new(
					words, i,
					json_sprintf("%.*s=" REDACT_HIDDEN, (int)(eq - s), s));
		} else if (is_value && *s != '-') {
			(void)json_array_set_new(words, i, json_string(REDACT_HIDDEN));
		}
	}
}

/* {name, value} of a container's env */
static bool is_variable(const json_t *v)
{
	return json_is_string(json_object_get(v, "name")) &&
	       json_is_string(json_object_get(v, "value"));
}

/** struct place - where walk() is. */
struct place {
	int depth;
	bool is_mesh; /* in an object of the mesh's own */
};

/* below() - the place of what is in @v. A template has no namespace: it is as what holds it. */
static struct place below(const json_t *v, struct place at)
{
	const char *ns = json_text(json_object_get(v, "metadata"), "namespace", NULL);
	const char *app = kube_meta(v, "labels", "app");

	at.depth++;
	if (ns)
		at.is_mesh = streq(ns, KUBE_MESH_NAMESPACE) && app &&
			     (streq(app, "istiod") || streq(app, "ztunnel"));
	return at;
}

/* command_hide() - of a container, a probe or a hook: which of an application's words is a password
 * ("-a x") is known to that application alone. Return: is it one? */
static bool command_hide(const char *key, json_t *words)
{
	json_t *child;
	size_t i;

	if (!json_is_array(words) || !(streq(key, "command") || streq(key, "args")))
		return false;
	json_array_foreach (words, i, child)
		(void)json_array_set_new(words, i, json_string(REDACT_HIDDEN));
	return true;
}

static void walk(json_t *v, struct place at);

/* text_of() - NULL: @text is as it was. */
static json_t *text_of(const char *s)
{
	_cleanup_(freep) char *text = s ? redact_pairs(s) : NULL;

	return text ? json_string(text) : NULL;
}

/* inner() - what a text holds: JSON (a MeshConfig, an annotation that holds a copy of the object),
 * else names with values. NULL: it stays as it is; else the caller's to drop. */
/* NOLINTNEXTLINE(misc-no-recursion): as walk() */
static json_t *inner(const json_t *v, struct place at)
{
	_cleanup_(json_decrefp) json_t *tree = NULL;
	_cleanup_(freep) char *text = NULL;
	const char *s = json_string_value(v);

	tree = s && (*s == '{' || *s == '[') ? json_loads(s, 0, NULL) : NULL;
	if (!tree)
		return text_of(s);
	at.is_mesh = false; /* until the copy of an object says so itself */
	walk(tree, at);
	text = json_dumps(tree, JSON_COMPACT);
	return json_string(text ? text : REDACT_HIDDEN);
}

/* child_walk() - @key: NULL: of an array. Return: what takes its place; NULL: it stays there. */
/* NOLINTNEXTLINE(misc-no-recursion): as walk() */
static json_t *child_walk(const char *key, json_t *child, struct place at)
{
	json_t *text;

	if (is_secret_text(child) || (key && json_is_string(child) && redact_is_secret(key)))
		return json_string(REDACT_HIDDEN);
	text = inner(child, at);
	if (!text && !(key && !at.is_mesh && command_hide(key, child)))
		walk(child, at);
	return text;
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH_MAX */
static void walk(json_t *v, struct place at)
{
	struct place in = below(v, at);
	json_t *child, *other;
	const char *key;
	size_t i;
	void *tmp;

	if (at.depth > DEPTH_MAX)
		return;
	if (is_variable(v))
		(void)json_object_set_new(v, "value", json_string(REDACT_HIDDEN));
	(void)json_object_del(v, "managedFields");
	words_walk(v);
	json_object_foreach_safe (v, tmp, key, child) {
		other = child_walk(key, child, in);
		if (other)
			(void)json_object_set_new(v, key, other);
	}
	json_array_foreach (v, i, child) {
		other = child_walk(NULL, child, in);
		if (other)
			(void)json_array_set_new(v, i, other);
	}
}

void redact_json(json_t *v)
{
	walk(v, (struct place){0});
}

static size_t token_len(const char *s, size_t n)
{
	size_t len = 0;

	while (len < n && s[len] && (isalnum((unsigned char)s[len]) || strchr("-_.~+/=", s[len])))
		len++;
	return len;
}

/* bearer_hide() - what follows the word. Return: bytes done with; 0: it is not there. */
static size_t bearer_hide(char *s, size_t n)
{
	static const char word[] = "bearer ";
	size_t len;

	if (n < strlen(word) || strncasecmp(s, word, strlen(word)) != 0)
		return 0;
	len = token_len(s + strlen(word), n - strlen(word));
	if (len >= TOKEN_MIN)
		memset(s + strlen(word), 'x', len);
	return strlen(word) + len;
}

static size_t span(const char *s, size_t n, const char *set)
{
	size_t len = 0;

	while (len < n && s[len] && strchr(set, s[len]))
		len++;
	return len;
}

/* header_hide() - a password in base64, or whatever else this header has, behind the name of its
 * scheme. */
static size_t header_hide(char *s, size_t n)
{
	static const char *const schemes[] = {"basic ", "bearer ", "digest ", "negotiate "};
	static const char word[] = "authorization", quotes[] = "\\\"' \t";
	size_t at = strlen(word), len = 0;

	if (n <= at || strncasecmp(s, word, at) != 0)
		return 0;
	at += span(s + at, n - at, quotes);
	if (span(s + at, n - at, ":=") == 0)
		return at;
	at++;
	at += span(s + at, n - at, quotes);
	for (size_t i = 0; i < ARRAY_SIZE(schemes) && len == 0; i++)
		if (n - at > strlen(schemes[i]) &&
		    strncasecmp(s + at, schemes[i], strlen(schemes[i])) == 0)
			len = strlen(schemes[i]);
	at += len;
	len = token_len(s + at, n - at);
	memset(s + at, 'x', len);
	return at + len;
}

/* jwt_hide() - a token of JSON in base64, which has dots: a certificate in base64 has none. */
static size_t jwt_hide(char *s, size_t n)
{
	size_t len;

	if (n < TOKEN_MIN || strncmp(s, "eyJ", 3) != 0)
		return 0;
	len = token_len(s, n);
	if (len >= TOKEN_MIN && memchr(s, '.', len))
		memset(s, 'x', len);
	return len;
}

/* pem_hide() - a private key, up to the dashes at its end. */
static size_t pem_hide(char *s, size_t n)
{
	static const char begin[] = "-----BEGIN ", end[] = "-----END";
	const char *head, *tail;
	size_t len;

	if (n < strlen(begin) || strncmp(s, begin, strlen(begin)) != 0)
		return 0;
	head = memmem(s, MIN(n, (size_t)PEM_HEAD_MAX), KEY_END, strlen(KEY_END));
	if (!head)
		return strlen(begin);
	head += strlen(KEY_END);
	n -= (size_t)(head - s);
	tail = memmem(head, MIN(n, (size_t)PEM_MAX), end, strlen(end));
	len = tail ? (size_t)(tail - head) : MIN(n, (size_t)PEM_MAX);
	memset(s + (head - s), 'x', len);
	return (size_t)(head - s) + len;
}

/* url_hide() - the password of "scheme://user:password@host"; without a colon what is long enough
 * to be one. */
static size_t url_hide(char *s, size_t n)
{
	static const char mark[] = "://";
	size_t from = strlen(mark), len = 0;
	const char *colon;

	if (n < from || strncmp(s, mark, from) != 0)
		return 0;
	n = MIN(n - from, (size_t)URL_MAX);
	while (len < n && s[from + len] > ' ' && !strchr("@/?#\"'\\<>", s[from + len]))
		len++;
	if (len == n || s[from + len] != '@')
		return from;
	colon = memchr(s + from, ':', len);
	if (colon)
		memset(s + (colon + 1 - s), 'x', from + len - (size_t)(colon + 1 - s));
	else if (len >= TOKEN_MIN)
		memset(s + from, 'x', len);
	return from + len;
}

void redact_text(char *s, size_t n)
{
	static size_t (*const hide[])(char *, size_t) = {header_hide, bearer_hide, jwt_hide,
							 pem_hide, url_hide};

	for (size_t at = 0; at < n;) {
		size_t done = 0;

		for (size_t i = 0; i < ARRAY_SIZE(hide) && done == 0; i++)
			done = hide[i](s + at, n - at);
		at += MAX(done, (size_t)1);
	}
}
