"""aiohttp-sse: a queue for each client, as in the project's own example of a chat."""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp_sse import sse_response

from ..clients import text
from .orders import listening, obey
from .pace import Pace

pace = Pace()
queues: set[asyncio.Queue[str]] = set()


async def events(request):
    async with sse_response(request) as response:
        # No heartbeats during the measurement.
        response.ping_interval = 3600
        queue = asyncio.Queue()
        queues.add(queue)
        try:
            while response.is_connected():
                await response.send(await queue.get())
                queue.task_done()
        finally:
            queues.discard(queue)
    return response


async def tokens(request):
    async with sse_response(request) as response:
        response.ping_interval = 3600
        while response.is_connected():
            await pace.next()
            await response.send(text())
    return response


async def tell(count: int) -> None:
    for _ in range(count):
        event = text()
        for queue in queues:
            await queue.put(event)


def dispatch(count: int) -> None:
    # It never waits, so it ends before it could be garbage collected.
    asyncio.get_running_loop().create_task(tell(count))


async def main() -> None:
    http, orders = listening()
    app = web.Application()
    app.router.add_get("/events", events)
    app.router.add_get("/tokens", tokens)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, http, backlog=4096).start()
    obey(orders, dispatch, lambda: {"streams": len(queues)}, pace)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
