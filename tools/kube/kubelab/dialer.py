#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""HTTP requests at a steady pace, each on a connection of its own; one line for each: when it was begun (seconds since
the epoch), how long it took (ms), "ok" and the answer's first line, or what went wrong. Until SIGTERM; nothing that is late is left out.

usage: dialer.py ADDRESS PORT INTERVAL_S [PATH]
"""
import asyncio
import signal
import sys
import time

TIMEOUT_S = 60  # a hang, on a machine however busy


async def ask(address, port, path):
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: dialer\r\n\r\n".encode())
        answer = await reader.read()
    finally:
        writer.close()
    if not answer:
        return "closed without an answer"
    head, _, body = answer.decode(errors="replace").partition("\r\n\r\n")
    return "ok " + body.split("\n", 1)[0] if head.split(" ", 2)[1] == "200" else head.split("\r\n", 1)[0]


async def one(address, port, path):
    began, clock = time.time(), time.monotonic()
    try:
        what = await asyncio.wait_for(ask(address, port, path), TIMEOUT_S)
    except (OSError, asyncio.TimeoutError) as e:
        what = f"{type(e).__name__}: {e}"
    print(f"{began:.6f} {(time.monotonic() - clock) * 1000:.3f} {what}", flush=True)


async def main(address, port, interval, path="/"):
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    due, tasks = time.monotonic(), set()
    while not end.is_set():
        task = asyncio.create_task(one(address, int(port), path))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += float(interval)
        await asyncio.sleep(max(0, due - time.monotonic()))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
