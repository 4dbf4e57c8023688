/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* collect - the live connections of all workers, for config_dump. Thread: the main loop; each
 * worker lists its own. */
struct admin_dump;
struct worker;

/** collect_start() - ask every worker; admin_dump_done() is called when the last has answered, or
 * now. */
void collect_start(struct worker *workers, unsigned int count, struct admin_dump *d);
