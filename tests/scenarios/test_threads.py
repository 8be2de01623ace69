"""Eight threads dispatch ten thousand times each, into one open stream: everything arrives, in the order of each thread."""

import asyncio

import pytest
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StreamConfig, broadcast, send
from sfere_tornado.testing import StreamClient

EVERYBODY = (ANY, ANY)

THREADS, EACH = 8, 10_000

#: Threads can dispatch faster than a client in the same process reads; being cut for that is another test's affair.
ROOMY = HubConfig(stream=StreamConfig(max_outbox=64 * 1024 * 1024))


class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))


@pytest.mark.slow
@pytest.mark.gen_test(timeout=60)
async def test_what_threads_dispatch_arrives_in_the_order_of_each(serve):
    """80,000 dispatches over a real socket: none lost, none twice, none out of order, and each thread knows what was reached."""
    hub = Hub(ROOMY)
    url = serve(Application([("/events", Events)], sfere=hub))
    client = await StreamClient.open(f"{url}/events?name=brian")

    def work(thread):
        futures = [
            hub.dispatch_threadsafe(broadcast(EVERYBODY, send(str(n), event=f"t{thread}")))
            for n in range(EACH)
        ]
        return sum(future.result(timeout=50).results[0].value.reached for future in futures)

    async def read():
        received = {f"t{thread}": [] for thread in range(THREADS)}
        for _ in range(THREADS * EACH):
            event = await client.event(timeout=50)
            received[event.event].append(int(event.data))
        assert await client.quiet() == []
        return received

    reading = asyncio.ensure_future(read())
    reached = await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(THREADS)))
    assert reached == [EACH] * THREADS
    assert await reading == {f"t{thread}": list(range(EACH)) for thread in range(THREADS)}
    await eventually(lambda: not hub._life.tasks)
