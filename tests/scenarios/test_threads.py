"""Eight threads dispatch ten thousand times each, into one open stream: everything arrives, in the order of each thread."""

import asyncio

import pytest
from support.waiting import eventually
from tornado.web import Application

from sfere_tornado import ANY, Hub, SSEHandler, broadcast, send
from sfere_tornado.testing import StreamClient

EVERYBODY = (ANY, ANY)

THREADS, EACH = 8, 10_000


class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))


@pytest.mark.slow
@pytest.mark.gen_test(timeout=60)
async def test_what_threads_dispatch_arrives_in_the_order_of_each(serve):
    """80,000 dispatches over real sockets: none lost, none twice, none out of order, and each thread knows what was reached."""
    hub = Hub()
    url = serve(Application([("/events", Events)], sfere=hub))
    clients = [await StreamClient.open(f"{url}/events?name={n}") for n in range(2)]

    def work(thread):
        futures = [hub.dispatch_threadsafe(broadcast(EVERYBODY, send(str(n), event=f"t{thread}"))) for n in range(EACH)]
        return sum(future.result(timeout=50).results[0].value.reached for future in futures)

    async def read(client):
        received = {f"t{thread}": [] for thread in range(THREADS)}
        for _ in range(THREADS * EACH):
            event = await client.event(timeout=50)
            received[event.event].append(int(event.data))
        assert await client.quiet() == []
        return received

    reading = [asyncio.ensure_future(read(client)) for client in clients]
    reached = await asyncio.gather(*(asyncio.to_thread(work, thread) for thread in range(THREADS)))
    assert reached == [2 * EACH] * THREADS
    for received in await asyncio.gather(*reading):
        assert received == {f"t{thread}": list(range(EACH)) for thread in range(THREADS)}
    await eventually(lambda: not hub.tasks)


@pytest.mark.gen_test(timeout=20)
async def test_the_loop_goes_on_while_threads_dispatch(serve):
    """A flood from a thread does not keep the loop from its other work: requests are answered in between."""
    hub = Hub()
    url = serve(Application([("/events", Events)], sfere=hub))
    client = await StreamClient.open(f"{url}/events?name=brian")
    told = []

    def flood():
        told.extend(hub.dispatch_threadsafe(broadcast(EVERYBODY, send(str(n)))) for n in range(5000))

    flooding = asyncio.ensure_future(asyncio.to_thread(flood))
    answered = 0
    while not flooding.done() or not told[-1].done():
        async with await StreamClient.open(f"{url}/events?name=other", method="HEAD") as answer:
            assert answer.status == 200
        answered += 1
    assert answered > 1
    assert [(await client.event()).data for _ in range(5000)] == [str(n) for n in range(5000)]
