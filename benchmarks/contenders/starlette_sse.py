"""sse-starlette on uvicorn with uvloop, in the two ways in which it is used.

The first argument is how its streams wait for events. ``example``: as in the project's own example
of broadcasting, which asks before each event whether the client is still there. ``generator``:
with a queue only, which leaves that to the library. The second argument is the HTTP parser:
``h11``, which uvicorn brings, or ``httptools``, a faster one that it uses if installed.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.routing import Route

from ..clients import text
from .orders import listening, obey
from .pace import Pace

#: Events that may wait for one client, as in the example.
WAITING = 100

pace = Pace()
queues: set[asyncio.Queue[ServerSentEvent]] = set()


class Broadcast:
    """Yields the events of one client."""

    def __init__(self, request):
        self.request = request
        self.queue = asyncio.Queue(WAITING)

    def __aiter__(self):
        queues.add(self.queue)
        return self

    async def __anext__(self):
        if await self.request.is_disconnected():
            queues.discard(self.queue)
            raise StopAsyncIteration
        try:
            return await self.queue.get()
        except BaseException:
            queues.discard(self.queue)
            raise


async def generator(request):
    queue = asyncio.Queue(WAITING)
    queues.add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        queues.discard(queue)


async def events(request):
    streams = Broadcast if sys.argv[1] == "example" else generator
    # No heartbeats during the measurement.
    return EventSourceResponse(streams(request), ping=3600)


async def tokens(request):
    async def generated():
        while True:
            await pace.next()
            yield ServerSentEvent(text())

    return EventSourceResponse(generated(), ping=3600)


def dispatch(count: int) -> None:
    for _ in range(count):
        event = ServerSentEvent(text())
        for queue in queues:
            queue.put_nowait(event)


def main() -> None:
    http, orders = listening()

    async def serve() -> None:
        obey(orders, dispatch, lambda: {"streams": len(queues)}, pace)
        await server.serve(sockets=[http])

    app = Starlette(routes=[Route("/events", events), Route("/tokens", tokens)])
    config = uvicorn.Config(
        app, loop="uvloop", http=sys.argv[2], log_level="warning", access_log=False
    )
    server = uvicorn.Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
