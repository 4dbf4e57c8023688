/* SPDX-License-Identifier: Apache-2.0 */
#include "redact.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "base/str.h"

#define DEPTH_MAX    64
#define HIDDEN       "<left out>"
#define WORD_MAX     128
#define TOKEN_MIN    16 /* shorter words after "Bearer" are prose */
#define KEY_END      "PRIVATE KEY-----"
#define PEM_HEAD_MAX 64
#define PEM_MAX      8192
/* "-----BEGIN" and " CERT" in base64: what else is said to begin there is taken for a key */
#define PEM_BASE64  "LS0tLS1CRUdJTi"
#define CERT_BASE64 "BDRVJU"

static bool is_secret_key(const char *key)
{
	static const char *const parts[] = {"token",      "password",   "passwd",     "secret",
					    "credential", "privatekey", "private_key"};
	/* names of things that only sound like one */
	static const char *const fine[] = {"secretName"};

	for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
		if (streq(fine[i], key))
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (strcasestr(key, parts[i]))
			return true;
	return streq(key, "kubectl.kubernetes.io/last-applied-configuration");
}

static bool is_secret_text(const json_t *v)
{
	const char *s = json_string_value(v);
	const char *pem = s ? strstr(s, PEM_BASE64) : NULL;

	return s && (strstr(s, KEY_END) ||
		     (pem && !str_has_prefix(pem + strlen(PEM_BASE64), CERT_BASE64)));
}

/* is_secret_word() - of a command's words: does this one name a secret? @ret_eq: its "=", if the
 * secret is in the same word. */
static bool is_secret_word(const char *s, const char **ret_eq)
{
	char name[WORD_MAX];
	size_t n = strcspn(s, "= \n");

	*ret_eq = s[n] == '=' ? s + n : NULL;
	if (n == 0 || n >= sizeof(name) || (*ret_eq ? false : *s != '-'))
		return false;
	memcpy(name, s, n);
	name[n] = '\0';
	return is_secret_key(name);
}

/* words_walk() - "--token=abc", "--token abc" and "TOKEN=abc" among the words of a command. */
static void words_walk(json_t *words)
{
	bool is_next = false;
	json_t *child;
	size_t i;

	json_array_foreach (words, i, child) {
		const char *s = json_string_value(child), *eq = NULL;
		bool is_value = is_next;

		is_next = false;
		if (!s)
			continue;
		if (is_secret_word(s, &eq)) {
			is_next = !eq;
			if (eq && eq[1] != '/') /* a file's name is none */
				(void)json_array_set_new(
					words, i, json_sprintf("%.*s=" HIDDEN, (int)(eq - s), s));
		} else if (is_value && *s != '-' && *s != '/') {
			(void)json_array_set_new(words, i, json_string(HIDDEN));
		}
	}
}

/* {name, value} of a container's env */
static bool is_variable(const json_t *v)
{
	return json_is_string(json_object_get(v, "name")) &&
	       json_is_string(json_object_get(v, "value"));
}

/* NOLINTNEXTLINE(misc-no-recursion): bounded by DEPTH_MAX */
static void walk(json_t *v, int depth)
{
	json_t *child;
	const char *key;
	size_t i;
	void *tmp;

	if (depth > DEPTH_MAX)
		return;
	if (is_variable(v))
		(void)json_object_set_new(v, "value", json_string(HIDDEN));
	(void)json_object_del(v, "managedFields");
	words_walk(v);
	json_object_foreach_safe (v, tmp, key, child) {
		if (is_secret_text(child) || (json_is_string(child) && is_secret_key(key)))
			(void)json_object_set_new(v, key, json_string(HIDDEN));
		else
			walk(child, depth + 1);
	}
	json_array_foreach (v, i, child) {
		if (is_secret_text(child))
			(void)json_array_set_new(v, i, json_string(HIDDEN));
		else
			walk(child, depth + 1);
	}
}

void redact_json(json_t *v)
{
	walk(v, 0);
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

void redact_text(char *s, size_t n)
{
	static size_t (*const hide[])(char *, size_t) = {bearer_hide, jwt_hide, pem_hide};

	for (size_t at = 0; at < n;) {
		size_t done = 0;

		for (size_t i = 0; i < ARRAY_SIZE(hide) && done == 0; i++)
			done = hide[i](s + at, n - at);
		at += MAX(done, (size_t)1);
	}
}
