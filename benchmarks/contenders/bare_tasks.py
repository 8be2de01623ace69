"""The limit for streams that are fed one by one: a task for each, which calls ``socket.send``."""

from __future__ import annotations

import asyncio

from ..clients import text
from .bare import HEADERS, received, send_rest
from .orders import listening, obey
from .pace import Pace

pace = Pace()
tasks: dict[int, asyncio.Task[None]] = {}


async def feed(sock) -> None:
    while True:
        await pace.next()
        event = f"data: {text()}\n\n".encode()
        framed = b"%x\r\n%b\r\n" % (len(event), event)
        try:
            sent = sock.send(framed)
        except BlockingIOError:
            sent = 0
        if sent != len(framed):
            send_rest(sock, framed[sent:])


def read(sock) -> None:
    descriptor = sock.fileno()
    if received(sock):
        sock.send(HEADERS)
        tasks[descriptor] = asyncio.get_running_loop().create_task(feed(sock))
        return
    asyncio.get_running_loop().remove_reader(descriptor)
    if (task := tasks.pop(descriptor, None)) is not None:
        task.cancel()
    sock.close()


def accept(http) -> None:
    sock = http.accept()[0]
    sock.setblocking(False)
    asyncio.get_running_loop().add_reader(sock.fileno(), read, sock)


async def main() -> None:
    http, orders = listening()
    asyncio.get_running_loop().add_reader(http.fileno(), accept, http)
    # It has no broadcast.
    obey(orders, lambda events: None, lambda: {"streams": len(tasks)}, pace)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
