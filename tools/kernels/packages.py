# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels: fetched with apt from the sources that this machine has, unpacked into a cache, never installed.

A suite that the machine has no line for is asked of the same mirror, with lists of its own: what apt knows of the
machine is left alone.
"""
import functools
import os
import re
import shutil
import subprocess

CACHE = os.path.expanduser("~/.cache/culvert/kernels")
META = "linux-image-cloud-amd64"
PART = re.compile(r"linux-(image|modules|binary)-\d.*-cloud-amd64$")
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
# name: suites that may have it; the highest version of them is taken
KERNELS = {"6.1": ("bookworm",), "6.12": ("trixie", "bookworm-backports"), "newest": ("sid", "experimental")}


def run(*argv, **kwargs):
    """Output of a command; its complaint is in the exception when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, **kwargs)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def mirror():
    """Where this machine gets Debian from: the address whose suite is its own release."""
    with open("/etc/os-release", encoding="utf-8") as f:
        codename = re.search(r"^VERSION_CODENAME=(\S+)", f.read(), re.M).group(1)
    for line in run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
                    "Created-By: Packages").splitlines():
        address, release, component = line.split()
        if (release, component) == (codename, "main"):
            return address
    raise RuntimeError(f"apt has no source of {codename} main: no kernel can be fetched")


class Suite:
    """One suite, with apt's lists in a folder of its own."""

    def __init__(self, name):
        self.name = name
        self.folder = os.path.join(CACHE, "apt", name)
        for part in ("lists/partial", "cache/archives/partial", "parts"):
            os.makedirs(os.path.join(self.folder, part), exist_ok=True)
        with open(os.path.join(self.folder, "sources.list"), "w", encoding="utf-8") as f:
            f.write(f"deb [signed-by={KEYS}] {mirror()} {name} main\n")

    def apt(self, tool, *argv, **kwargs):
        """apt-get or apt-cache that knows this suite only."""
        options = {"Dir::Etc::sourcelist": "sources.list", "Dir::Etc::sourceparts": "parts",
                   "Dir::State::lists": "lists", "Dir::Cache": "cache"}
        words = [f"-o{key}={os.path.join(self.folder, value)}" for key, value in options.items()]
        return run(tool, "-q", *words, "-oAPT::Sandbox::User=root", "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
                   "-oAcquire::Languages=none", *argv, **kwargs)

    def update(self):
        """Fetch the suite's list of packages."""
        self.apt("apt-get", "update")

    def version(self):
        """Version of its newest kernel, None when it has none."""
        found = re.search(r"Candidate: (\S+)", self.apt("apt-cache", "policy", META))
        return found and found.group(1) != "(none)" and found.group(1) or None

    def parts(self):
        """Names of the packages that hold image and modules."""
        found, todo = [], [META]
        while todo:
            for name in re.findall(r"Depends: (\S+)", self.apt("apt-cache", "depends", todo.pop())):
                if PART.match(name) and name not in found:
                    found.append(name)
                    todo.append(name)
        return found

    def unpack(self, target):
        """Image and modules of its newest kernel into the folder `target`, complete or not at all."""
        partial = target + ".partial"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        self.apt("apt-get", "download", *self.parts(), cwd=partial)
        for name in [n for n in os.listdir(partial) if n.endswith(".deb")]:
            run("dpkg", "-x", os.path.join(partial, name), partial)
            os.unlink(os.path.join(partial, name))
        if os.path.isdir(os.path.join(partial, "usr/lib/modules")):  # where newer packages have them
            os.makedirs(os.path.join(partial, "lib"), exist_ok=True)
            os.rename(os.path.join(partial, "usr/lib/modules"), os.path.join(partial, "lib/modules"))
        os.rename(partial, target)


class Kernel:
    """An unpacked kernel."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.release = os.listdir(os.path.join(folder, "lib/modules"))[0]
        self.modules = os.path.join(folder, "lib/modules", self.release)

    @property
    def image(self):
        """The file that boots."""
        for path in (f"boot/vmlinuz-{self.release}", f"lib/modules/{self.release}/vmlinuz"):
            if os.path.exists(os.path.join(self.folder, path)):
                return os.path.join(self.folder, path)
        raise RuntimeError(f"{self.folder}: no kernel image inside")


def is_higher(a, b):
    """Debian's order of versions."""
    return subprocess.run(["dpkg", "--compare-versions", a, "gt", b], check=False).returncode == 0


def newest_of(suites):
    """(version, suite) of the highest kernel that these suites have."""
    best = None
    for suite in map(Suite, suites):
        suite.update()
        version = suite.version()
        if version and (not best or is_higher(version, best[0])):
            best = version, suite
    if not best:
        raise RuntimeError(f"no {META} in {' '.join(suites)}")
    return best


@functools.lru_cache
def get(name, look_for_newer):
    """The kernel of that name; from the cache alone when it is there and nobody asks for a newer one."""
    link = os.path.join(CACHE, name)
    if look_for_newer or not os.path.exists(link):
        try:
            version, suite = newest_of(KERNELS[name])
            folder = os.path.join(CACHE, version)
            if not os.path.isdir(folder):
                suite.unpack(folder)
            os.makedirs(CACHE, exist_ok=True)
            if os.path.islink(link):
                os.unlink(link)
            os.symlink(version, link)
        except RuntimeError as e:
            if not os.path.exists(link):
                raise
            print(f"kernels: {name}: the cached one is used: {e}")
    return Kernel(name, os.path.realpath(link))
