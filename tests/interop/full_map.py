# SPDX-License-Identifier: Apache-2.0
"""A BPF map that has no room."""
import contextlib
import ctypes
import json
import os
import struct

from topology import run

OBJ_GET, UPDATE, DELETE = 7, 2, 3  # enum bpf_cmd
SYSCALL = {"x86_64": 321, "aarch64": 280}


def bpf(command, attributes):
    """bpf(2). Return: its result, -errno when it failed."""
    attr = ctypes.create_string_buffer(attributes, 128)
    r = ctypes.CDLL(None, use_errno=True).syscall(SYSCALL[os.uname().machine], command, attr, len(attr))
    return r if r >= 0 else -ctypes.get_errno()


class Filling:
    """Entries of nobody's: keys that begin with `head`."""

    def __init__(self, path, head, value):
        shown = json.loads(run("bpftool", "-j", "map", "show", "pinned", path))
        self.most, key_size, value_size = shown["max_entries"], shown["bytes_key"], shown["bytes_value"]
        name = ctypes.create_string_buffer(str(path).encode())
        self.fd = bpf(OBJ_GET, struct.pack("<Q", ctypes.addressof(name)))
        assert self.fd >= 0, os.strerror(-self.fd)
        self.key = ctypes.create_string_buffer(head.ljust(key_size, b"\xfe"), key_size)
        self.value = ctypes.create_string_buffer(value or bytes(value_size), value_size)
        self.count = 0

    def _each(self, command, count, *more):
        attributes = struct.pack(f"<IIQ{len(more)}Q", self.fd, 0, ctypes.addressof(self.key), *more)
        for i in range(count):
            struct.pack_into("<I", self.key, len(self.key) - 4, i)
            if bpf(command, attributes) < 0:
                return i
        return count

    def fill(self):
        """Until there is no room."""
        self.count = self._each(UPDATE, self.most + 1, ctypes.addressof(self.value))
        assert 0 < self.count <= self.most

    def empty(self):
        """There is room again."""
        self._each(DELETE, self.count)
        self.count = 0


@contextlib.contextmanager
def full(path, head=b"", value=None):
    """A pinned map without room; gives what makes room before the end does."""
    filling = Filling(path, head, value)
    try:
        filling.fill()
        yield filling.empty
    finally:
        filling.empty()
        os.close(filling.fd)
