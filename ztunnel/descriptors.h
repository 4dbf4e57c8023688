/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* descriptors - some are kept free, so that the sockets which the agent hands over always arrive: a
 * message whose descriptors do not fit would cost the connection to the agent, and with it every
 * pod. The kernel gives the lowest free number, so a number tells how many are in use. Any thread.
 */
#include <stdbool.h>

/** descriptors_init() - raise the limit as far as we may, and have room for as many as a busy node
 * needs, so that no thread waits for the kernel to make it; once, before threads start. */
void descriptors_init(void);
/** descriptors_are_scarce() - only the reserve is left, as @fd shows, which was just made: close
 * it and refuse what it is for (EMFILE). Never true before descriptors_init(). */
bool descriptors_are_scarce(int fd);
