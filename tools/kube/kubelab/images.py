# SPDX-License-Identifier: Apache-2.0
"""Container images without a registry: docker archives made of this machine's own programs and their libraries."""
import glob
import hashlib
import io
import json
import os
import re
import tarfile

from . import layout
from .run import sh

BIN = os.environ.get("CULVERT_BIN", f"{layout.ROOT}/build/bin")
PASSWD = ("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n"
          "culvert-ztunnel:x:1337:1337::/nonexistent:/bin/false\nculvert-control:x:1338:1338::/nonexistent:/bin/false\n"
          "nobody:x:65534:65534::/nonexistent:/bin/false\n")
GROUP = "root:x:0:\nwww-data:x:33:\nculvert-ztunnel:x:1337:\nculvert-control:x:1338:\nnogroup:x:65534:\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"

NGINX_CONF = """daemon off;
worker_processes 1;
error_log /dev/stderr warn;
pid /tmp/nginx.pid;
events { worker_connections 512; }
http {
    access_log off;
    default_type text/plain;
    client_body_temp_path /tmp/b; proxy_temp_path /tmp/p; fastcgi_temp_path /tmp/f;
    uwsgi_temp_path /tmp/u; scgi_temp_path /tmp/s;
    server {
        listen 80 default_server;
        listen [::]:80 default_server;
        location / { return 200 "nginx $hostname\\nclient $remote_addr\\n"; }
        location = /healthz { access_log /tmp/probes; return 200 "ok\\n"; }
    }
}
"""
HTTPD_CONF = """ServerRoot /etc/apache2
ServerName httpd
Listen 80
PidFile /tmp/httpd.pid
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
User www-data
Group www-data
DocumentRoot /var/www/html
ErrorLog /dev/stderr
<Directory /var/www/html>
    Require all granted
</Directory>
"""
SHELL = ["/usr/bin/dash", "/usr/bin/cat", "/usr/bin/sleep", "/usr/bin/ls", "/usr/bin/date", "/usr/bin/env",
         "/usr/bin/grep", "/usr/bin/seq", "/usr/bin/head", "/usr/bin/timeout"]


# What a program of ours opens by this name when it runs, where the processor is one for it; linked with nothing but the C library.
OPENED = {"libIPSec_MB.so.1": "/usr/lib/x86_64-linux-gnu/libIPSec_MB.so.1"}


def libraries(path, triple=None):
    """Shared libraries that a program loads, the dynamic linker too. triple: another machine's, in Debian's folders for it."""
    with open(path, "rb") as f:
        data = f.read()
    opened = [target for name, target in OPENED.items() if name.encode() in data]
    if triple:
        return sorted({*_foreign_libraries(path, f"/usr/lib/{triple}", {}), *opened})
    out = sh("ldd", path, check=False)
    return sorted({*re.findall(r"(?:=> )?(/\S+) \(0x", out), *opened})


def _foreign_libraries(path, folder, found):
    """What ldd would say, had this machine a loader for the program."""
    out = sh("readelf", "-W", "-l", "-d", path)
    linkers = re.findall(r"interpreter: (\S+)\]", out)
    for lib in [*linkers, *(f"{folder}/{name}" for name in re.findall(r"NEEDED\S* .*\[(\S+)\]", out) if not name.startswith("ld-"))]:
        if lib not in found:
            found[lib] = True
            _foreign_libraries(lib, folder, found)
    return found


class Image:
    """One image: its files, what it runs."""
    arch = "amd64"
    created = "1970-01-01T00:00:00Z"
    triple = None

    def __init__(self, name, command, programs=(), files=None, links=None, folders=("/tmp",), user="", data=None):
        self.name, self.command, self.user = name, command, user
        self.links = dict(links or {})
        self.folders = list(folders)
        self.files = {"/etc/passwd": PASSWD, "/etc/group": GROUP, "/etc/nsswitch.conf": NSSWITCH, **(files or {})}
        self.programs = list(programs)
        self.data = dict(data or {})

    def sources(self):
        """Where the programs and their libraries are, by their path in the image."""
        paths = {}
        for program in self.programs:
            source, target = program if isinstance(program, tuple) else (program, program)
            paths[target] = source
            for lib in libraries(source, self.triple):
                paths[lib] = lib
        return {re.sub("^/(lib|lib64|bin)/", r"/usr/\1/", target): source for target, source in paths.items()}

    def layer(self):
        """The layer as a tar: same input, same bytes."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for folder in ("/bin", "/lib", "/lib64"):  # as Debian has them
                self._add_link(tar, folder, "usr" + folder)
            for folder in sorted(self.folders):
                info = tarfile.TarInfo(folder.lstrip("/"))
                info.type, info.mode = tarfile.DIRTYPE, 0o1777 if folder == "/tmp" else 0o755
                tar.addfile(info)
            for target, source in sorted(self.sources().items()):
                with open(source, "rb") as f:
                    self._add(tar, target, f.read(), 0o755)
            for target, source in sorted(self.data.items()):
                with open(source, "rb") as f:
                    self._add(tar, target, f.read(), 0o644)
            for target, text in sorted(self.files.items()):
                self._add(tar, target, text.encode(), 0o644)
            for target, source in sorted(self.links.items()):
                self._add_link(tar, target, source)
        return out.getvalue()

    @staticmethod
    def _add(tar, path, data, mode):
        info = tarfile.TarInfo(path.lstrip("/"))
        info.size, info.mode = len(data), mode
        tar.addfile(info, io.BytesIO(data))

    @staticmethod
    def _add_link(tar, path, target):
        info = tarfile.TarInfo(path.lstrip("/"))
        info.type, info.linkname = tarfile.SYMTYPE, target
        tar.addfile(info)

    def config(self, layer):
        return json.dumps({
            "architecture": self.arch, "os": "linux", "created": self.created,
            "config": {"Entrypoint": self.command, "User": self.user, "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        }, sort_keys=True).encode()


def write_archive(images, path, layers=None):
    """All images in one docker archive. layers: those that the caller has made already."""
    manifest = []
    with tarfile.open(path, "w") as tar:
        for image, layer in zip(images, layers or [i.layer() for i in images]):
            config = image.config(layer)
            layer_name = hashlib.sha256(layer).hexdigest() + ".tar"
            config_name = hashlib.sha256(config).hexdigest() + ".json"
            Image._add(tar, layer_name, layer, 0o644)
            Image._add(tar, config_name, config, 0o644)
            manifest.append({"Config": config_name, "RepoTags": [image.name], "Layers": [layer_name]})
        Image._add(tar, "manifest.json", json.dumps(manifest).encode(), 0o644)


def static_program(name):
    """One of tools/kube's own, which need no library in their image; compiled once."""
    source = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), f"{name}.c")
    target = f"{layout.STATE}/{name}"
    sh("gcc", "-Os", "-static", "-s", "-D_GNU_SOURCE", "-o", target, source)
    return target


def shell_links():
    return {"/usr/bin/sh": "dash"}


def base_images():
    """What every cluster has: the sandbox and the sample workloads."""
    modules = [f"/usr/lib/apache2/modules/mod_{m}.so" for m in ("mpm_event", "authz_core", "dir")]
    return [
        Image("culvert.test/pause:1", ["/pause"], [(static_program("pause"), "/pause")]),
        Image("culvert.test/nginx:1", ["/usr/sbin/nginx", "-c", "/etc/nginx.conf"], ["/usr/sbin/nginx", *SHELL],
              {"/etc/nginx.conf": NGINX_CONF}, shell_links(), ["/tmp", "/var", "/var/log", "/var/log/nginx"]),
        Image("culvert.test/httpd:1", ["/usr/sbin/apache2", "-DFOREGROUND", "-f", "/etc/apache2/httpd.conf"],
              ["/usr/sbin/apache2", *modules, *SHELL],
              {"/etc/apache2/httpd.conf": HTTPD_CONF, "/var/www/html/index.html": "It works!\n"}, shell_links()),
        Image("culvert.test/client:1", ["/usr/bin/sleep", "infinity"],
              ["/usr/bin/curl", "/usr/bin/ncat", (static_program("eager"), "/eager"), *SHELL], None, shell_links()),
    ]


def culvert_images(folder=BIN, tag="1"):
    """Ours, from a build folder."""
    programs = [(p, "/usr/local/bin/" + os.path.basename(p)) for p in sorted(glob.glob(f"{folder}/culvert*"))]
    if not programs:
        raise RuntimeError(f"nothing built in {folder}: run make")
    return [Image(f"culvert.test/culvert:{tag}", ["/usr/local/bin/culvert"], [*programs, *SHELL], None, shell_links(),
                  ["/tmp", "/run", "/run/culvert"])]


def load(node, archive):
    """Into a node's containerd. Images that are there already cost little."""
    sh("ctr", "-a", node.containerd_socket, "-n", "k8s.io", "images", "import", archive)
