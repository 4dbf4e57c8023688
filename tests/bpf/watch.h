/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* watch - see harness.h for what tests call. */

/** watch_start() - forget what came before. Called once per test's process. */
void watch_start(void);
/** watch_report() - print what was counted and refused since then: why a test failed. Never fails.
 */
void watch_report(void);
