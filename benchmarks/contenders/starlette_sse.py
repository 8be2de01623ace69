"""sse-starlette on uvicorn with uvloop: a queue for each client, as its documentation has it.

The argument is the HTTP parser: ``h11``, which uvicorn itself brings, or ``httptools``, a faster one that it uses if there.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

from ..clients import text
from .orders import listening, obey

queues: set[asyncio.Queue[str]] = set()


async def events(request):
    queue = asyncio.Queue()
    queues.add(queue)

    async def stream():
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            queues.discard(queue)

    # No heartbeats while it is measured.
    return EventSourceResponse(stream(), ping=3600)


def dispatch(count: int) -> None:
    for _ in range(count):
        event = text()
        for queue in queues:
            queue.put_nowait(event)


def main() -> None:
    http, orders = listening()

    async def serve() -> None:
        obey(orders, dispatch, lambda: {"streams": len(queues)})
        await server.serve(sockets=[http])

    app = Starlette(routes=[Route("/events", events)])
    config = uvicorn.Config(app, loop="uvloop", http=sys.argv[1], log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(serve())


if __name__ == "__main__":
    main()
