# SPDX-License-Identifier: Apache-2.0
"""The file system of a test VM: an initramfs with Culvert's programs, what they need of this machine, and kernel modules.

Nothing of the machine is shared with the VM, and nothing is written back.
"""
import gzip
import lzma
import os
import re
import shutil
import stat
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
PROGRAMS = ("sh", "ip", "nsenter", "curl", "mount", "cat")
MODULES = ("veth", "bridge", "tls", "inet_diag", "tcp_diag", "sch_ingress", "cls_bpf", "act_gact", "nf_tables",
           "iptable_filter", "ip6table_filter")
FOLDERS = ("proc", "sys", "dev", "run", "tmp", "etc", "root", "var/tmp", "lib", "usr/lib")
USERS = ("root", "nobody", "culvert-ztunnel", "culvert-control", "culvert-agent", "nogroup")


def libraries(program):
    """Shared libraries of a program, its loader included."""
    done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=False)
    return re.findall(r"(?:=> )?(/\S+) \(0x", done.stdout)


def python_modules(script):
    """Files of the standard library that the script's imports lead to, with their compiled form."""
    listing = ("import sys, runpy; sys.dont_write_bytecode = True; runpy.run_path(sys.argv[1], run_name='listed'); "
               "print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)), sep='\\n')")
    out = subprocess.run(["/usr/bin/python3", "-c", listing, script], stdout=subprocess.PIPE, text=True, check=True).stdout
    files = set(out.split())
    for path in list(files):
        folder, name = os.path.split(path)
        compiled = os.path.join(folder, "__pycache__", name.replace(".py", ".cpython-3" + path_version(path) + ".pyc"))
        if os.path.exists(compiled):
            files.add(compiled)
    return files


def path_version(path):
    """"11" for a file of Python 3.11's library."""
    found = re.search(r"python3\.(\d+)", path)
    return found.group(1) if found else ""


class Modules:
    """The modules of a kernel, by name."""

    def __init__(self, folder):
        self.paths = {}
        for base, _, names in os.walk(folder):
            for name in names:
                if ".ko" in name:
                    self.paths[name.split(".ko")[0].replace("-", "_")] = os.path.join(base, name)
        self.ordered = []  # [(name, bytes)], each after those that it needs

    def add(self, name):
        """With what it depends on; what the kernel has built in has no file."""
        if name not in self.paths or any(name == n for n, _ in self.ordered):
            return
        with open(self.paths[name], "rb") as f:
            data = f.read()
        if self.paths[name].endswith(".xz"):
            data = lzma.decompress(data)
        for needed in re.search(rb"\0depends=([^\0]*)", data).group(1).decode().split(","):
            self.add(needed.replace("-", "_"))
        self.ordered.append((name, data))


class Archive:
    """A cpio archive of the kernel's `newc` kind, written file by file."""

    def __init__(self, path):
        self.out = gzip.open(path, "wb", compresslevel=1)
        self.seen = set()
        self.number = 0

    def _entry(self, name, mode, data=b"", mtime=0, device=(0, 0)):
        self.number += 1
        encoded = name.encode() + b"\0"
        fields = (self.number, mode, 0, 0, 1, mtime, len(data), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (header + encoded, data):
            self.out.write(part + b"\0" * (-len(part) % 4))

    def folder(self, name):
        """With the folders above it."""
        if not name or name in self.seen:
            return
        self.folder(os.path.dirname(name))
        self.seen.add(name)
        self._entry(name, stat.S_IFDIR | 0o755)

    def data(self, name, data, mode=0o644, mtime=0):
        """A file with this content."""
        name = name.lstrip("/")
        if name in self.seen:
            return
        self.folder(os.path.dirname(name))
        self.seen.add(name)
        self._entry(name, stat.S_IFREG | mode, data, mtime)

    def copy(self, path, name=None):
        """A file of this machine, links followed, under its own name."""
        with open(path, "rb") as f:
            info = os.fstat(f.fileno())
            self.data(name or path, f.read(), info.st_mode & 0o777, int(info.st_mtime))

    def program(self, path, name=None):
        """A program and its libraries."""
        self.copy(path, name)
        for library in libraries(path):
            self.copy(library)

    def console(self):
        """What the kernel opens for /init."""
        self._entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))

    def close(self):
        """The archive is complete."""
        self._entry("TRAILER!!!", 0)
        self.out.close()


def users(path):
    """The lines of passwd or group that the VM needs."""
    with open(path, encoding="utf-8") as f:
        return "".join(line for line in f if line.split(":")[0] in USERS).encode()


def build(kernel, path, bin_dir):
    """Write the VM's file system for this kernel to `path`."""
    archive = Archive(path)
    for folder in FOLDERS:
        archive.folder(folder)
    archive.console()
    guest = os.path.join(ROOT, "tools", "kernels", "guest.py")
    archive.copy(guest, "init")
    for name in PROGRAMS:
        archive.program(shutil.which(name), f"usr/bin/{name}")
    archive.copy(shutil.which("sh"), "bin/sh")
    archive.program("/usr/bin/python3")
    for name in sorted(os.listdir(bin_dir)):
        archive.program(os.path.join(bin_dir, name), f"culvert/build/bin/{name}")
    for file in sorted(python_modules(guest)):
        where = file.replace(ROOT, "culvert") if file.startswith(ROOT) else file
        if file.endswith(".so"):
            archive.program(file, where)
        else:
            archive.copy(file, where)
    for name in ("passwd", "group"):
        archive.data(f"etc/{name}", users(f"/etc/{name}"))
    modules = Modules(kernel.modules)
    for name in MODULES:
        modules.add(name)
    for number, (name, data) in enumerate(modules.ordered):
        archive.data(f"modules/{number:02}-{name}.ko", data)
    archive.close()
