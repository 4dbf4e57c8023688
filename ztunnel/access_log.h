/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* access_log - the lines of target "access", with the fields and the order of Istio's ztunnel. Any
 * thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn_end;
struct conn_info;
struct history;

/** access_log_set_default() - MeshConfig's accessLogFile: is there a line for each connection,
 * where no Telemetry resource says otherwise? True at first. */
void access_log_set_default(bool is_on);

/** access_log_complete() - a connection has ended: info, or error when it ended with one; @h
 * remembers it, printed or not; NULL: nobody does. @policy: "ns/name" that denied it, or NULL. */
void access_log_complete(struct history *h, const struct conn_info *info,
			 const struct conn_end *end, const char *policy);

/** access_log_failed() - it ended before it was known what it is (warn); remembered likewise. */
void access_log_failed(struct history *h, const struct conn_info *info, const struct conn_end *end);

/** access_log_note() - info line about a policy that decides nothing: under trial, or AUDIT.
 * @policy: "ns/name", or NULL. */
void access_log_note(const struct conn_info *info, const char *what, const char *policy);

/** access_log_opened() - debug line at the start. */
void access_log_opened(const struct conn_info *info);

/** access_log_format() - the fields of a line, for the three above and for tests. Return: length
 * written, cut to @size. */
size_t access_log_format(const struct conn_info *info, uint64_t now_us, const char *error,
			 char *into, size_t size);
