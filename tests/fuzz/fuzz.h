/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* fuzz - what every target shares. A target must not leak, crash or loop for any bytes. */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/** LLVMFuzzerInitialize() - for targets that need something made once. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
