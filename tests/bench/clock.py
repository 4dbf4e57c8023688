# SPDX-License-Identifier: Apache-2.0
"""Where the time of a run goes."""
import time


class Clock:
    """Every moment counts for the part that was named last."""

    def __init__(self, now=time.monotonic):
        self.now, self.part, self.parts = now, None, {}
        self.begin = self.since = now()

    def at(self, part):
        """What is done from now on."""
        now = self.now()
        if self.part:
            self.parts[self.part] = self.parts.get(self.part, 0) + now - self.since
        self.part, self.since = part, now

    def report(self):
        """(seconds in all, [{"id": part, "seconds"}], what took longest first)."""
        self.at(self.part)
        longest = sorted(self.parts.items(), key=lambda part: part[1], reverse=True)
        return round(self.since - self.begin, 1), [{"id": part, "seconds": round(s, 1)} for part, s in longest]
