/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* bpf_words - what each pinned map and program is for, in one line. */

/** bpf_word() - by a map's or program's full name (a kernel name has 15 bytes at most: then by
 * that). Static; "" when unknown. */
const char *bpf_map_word(const char *name);
const char *bpf_prog_word(const char *name);
