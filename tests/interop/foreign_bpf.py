# SPDX-License-Identifier: Apache-2.0
"""A BPF program of another tool's: it lets everything be, and is where ours belongs."""
import ctypes
import os
import re
import socket
import struct
import threading

from topology import run

SYSCALL = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, LINK_CREATE = 5, 28  # enum bpf_cmd
# hook, as bpftool calls it: enum bpf_prog_type, enum bpf_attach_type, the verdict that lets things be
HOOKS = {"connect4": (18, 10, 1), "getsockname6": (18, 32, 1), "xdp": (6, 37, 2),
         "tcx_ingress": (3, 46, -1), "tcx_egress": (3, 47, -1)}
NEWNET = 0x40000000  # CLONE_NEWNET


def bpf(command, attributes):
    """bpf(2) that gives a descriptor."""
    attr = ctypes.create_string_buffer(attributes)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYSCALL[os.uname().machine], command, attr, len(attr.raw) - 1)
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"bpf({command}): {os.strerror(ctypes.get_errno())}")
    return fd


def in_namespace(node, work):
    """What work() gives in the node's network namespace, or raises."""
    outcome = []

    def body():
        try:
            with open(node.path, "rb") as f:
                if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), NEWNET) < 0:
                    raise OSError(ctypes.get_errno(), "setns")
            outcome.append((work(), None))
        except OSError as e:
            outcome.append((None, e))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    value, error = outcome[0]
    if error:
        raise error
    return value


class Foreign:
    """In the kernel until close() or as long as it is attached; its .id is what bpftool and the kernel name it by."""

    def __init__(self, hook, name="foreign"):
        self.hook, self.name = hook, name
        kind, attach_type, verdict = HOOKS[hook]
        code = ctypes.create_string_buffer(struct.pack("<BBhiBBhi", 0xb7, 0, 0, verdict, 0x95, 0, 0, 0))  # r0 = verdict; exit
        terms = ctypes.create_string_buffer(b"GPL")
        self.fd = bpf(PROG_LOAD, struct.pack("<IIQQIIQII16sII", kind, 2, ctypes.addressof(code), ctypes.addressof(terms),
                                             0, 0, 0, 0, 0, name.encode(), 0, attach_type))
        with open(f"/proc/self/fdinfo/{self.fd}", encoding="ascii") as f:
            self.id = int(re.search(r"prog_id:\s*(\d+)", f.read()).group(1))

    def attach_to_cgroup(self, path, *flags):
        """Without flags it lets no other program beside it, also not below; `multi` does."""
        run("bpftool", "cgroup", "attach", path, self.hook, "id", str(self.id), *flags)

    def detach_from_cgroup(self, path):
        """Out of the way again."""
        run("bpftool", "cgroup", "detach", path, self.hook, "id", str(self.id))

    def attach_to_link(self, node, link, mode="xdp"):
        """To an interface of a node's; mode `xdpgeneric`: not in its driver."""
        node.run("bpftool", "net", "attach", mode, "id", str(self.id), "dev", link)

    def attach_by_tcx(self, node, link):
        """To an interface of a node's, as long as the descriptor that this gives is open. OSError: EINVAL before Linux 6.6."""
        return in_namespace(node, lambda: bpf(LINK_CREATE, struct.pack("<IIII", self.fd, socket.if_nametoindex(link),
                                                                       HOOKS[self.hook][1], 0)))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)
