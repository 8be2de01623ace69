"""Clocks that step and processes that stand still: nobody's lease ends for it, and heartbeats go on."""

import asyncio
import json
import signal

import pytest
from support.mute import AVAILABLE, MISSING, pull_the_cable
from support.server import ServerProcess

from sfere_tornado.testing import StreamClient

#: Leases of some seconds and a heartbeat each second. Arguments: the lease, what renews it, and whether the wall clock steps.
SERVER = """
import asyncio, json, logging, sys, time
from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StoreConfig, StreamConfig, broadcast, send
from sfere_tornado.web.signs import BeatHandler
from tornado.web import Application, RequestHandler

logging.basicConfig(level=logging.WARNING)
ttl, renewed_by, steps = float(sys.argv[1]), set(sys.argv[2].split(",")), sys.argv[3] == "steps"
real, offset, readers = time.time, 0.0, set()

def wall_clock():
    file = sys._getframe(1).f_code.co_filename
    if "sfere_tornado" in file:
        readers.add(file)
    return real() + offset

def step():
    global offset
    offset = {0.0: 3600.0, 3600.0: -3600.0, -3600.0: 0.0}[offset]
    asyncio.get_running_loop().call_later(0.3, step)

hub = Hub(HubConfig(store=StoreConfig(ttl=ttl, renewed_by=renewed_by), stream=StreamConfig(heartbeat=1.0)))
left = []
hub.on_evict(lambda key, connection, cause: left.append((key.id, cause, time.monotonic() - connection.data)))

class Named:
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))

class Events(Named, SSEHandler):
    def on_open(self, connection):
        connection.data = time.monotonic()

class Beat(Named, BeatHandler):
    pass

class Say(RequestHandler):
    def post(self):
        hub.dispatch(broadcast((ANY, ANY), send(self.get_query_argument("text"))))

class State(RequestHandler):
    def get(self):
        self.write({"left": left, "streams": len(hub.streams), "readers": sorted(readers)})

async def main():
    if steps:
        time.time = wall_clock
        step()
    app = Application([("/events", Events), ("/beat", Beat), ("/say", Say), ("/state", State)])
    print(hub.listen(app, 0), flush=True)
    await hub.run_until_signal(window=0, timeout=5)

asyncio.run(main())
"""


async def request(url, method="GET"):
    headers = {"Content-Length": "0"} if method == "POST" else {}
    async with await StreamClient.open(url, method=method, headers=headers) as answer:
        if answer.status == 200 and method == "GET":
            await answer.ended()
        return answer.status, answer.body


async def state_of(server):
    return json.loads((await request(server.url + "/state"))[1])


@pytest.mark.slow
@pytest.mark.gen_test(timeout=30)
async def test_steps_of_the_wall_clock_change_nothing(io_loop):
    """An hour forward, an hour back, over and over: leases end on time and not before, heartbeats go on, nobody asks that clock."""
    async with ServerProcess(SERVER, 2.0, "request", "steps") as server:
        stays = await StreamClient.open(server.url + "/events?name=stays")
        silent = await StreamClient.open(server.url + "/events?name=silent")
        for _ in range(16):
            assert (await request(server.url + "/beat?name=stays", "POST"))[0] == 204
            await stays.quiet(0.25)
        state = await state_of(server)
        ((name, cause, lasted),) = state["left"]
        assert (name, cause, state["streams"], state["readers"]) == ("silent", "expired", 1, [])
        assert 1.9 <= lasted <= 2.5
        assert await silent.ended() is False
        assert 3 <= len(stays.parser.comments) <= 5
        server.signal()
        assert await server.ended() == 0
        assert server.log == ""


@pytest.mark.slow
@pytest.mark.skipif(not AVAILABLE, reason=MISSING)
@pytest.mark.gen_test(timeout=60)
async def test_a_process_that_was_stopped_throws_nobody_out(io_loop):
    """Stopped for twice as long as a lease: nobody has left, all are reached at once, heartbeats and leases go on."""
    async with ServerProcess(SERVER, 3.0, "request,ack", "steady") as server:
        clients = []
        for first in range(0, 600, 100):
            names = range(first, first + 100)
            clients += await asyncio.gather(
                *(StreamClient.open(f"{server.url}/events?name={n}") for n in names)
            )
        await asyncio.sleep(1.5)  # half a lease; a process can only be stopped in real time
        server.signal(signal.SIGSTOP)
        await asyncio.sleep(6)  # twice a lease
        # What comes in the very moment of waking: requests and broadcasts, which look at the leases before anybody else.
        waking = asyncio.ensure_future(request(server.url + "/say?text=hello", "POST"))
        await asyncio.sleep(0.1)  # until they are in its sockets; it cannot tell
        server.signal(signal.SIGCONT)
        assert (await waking)[0] == 200
        assert {(await client.event()).data for client in clients} == {"hello"}
        assert (await state_of(server)) == {"left": [], "streams": 600, "readers": []}

        beats = [len(client.parser.comments) for client in clients]
        await asyncio.sleep(1.5)  # some heartbeats
        for client, before in zip(clients, beats, strict=True):
            assert await client.quiet(0) == []
            assert len(client.parser.comments) > before
        pull_the_cable(clients[0])
        for _ in range(60):
            if left := (await state_of(server))["left"]:
                break
            await asyncio.sleep(0.1)
        assert [(name, cause) for name, cause, _ in left] == [("0", "expired")]
        assert (await state_of(server))["streams"] == 599
        server.signal()
        assert await server.ended() == 0
        assert server.log == ""
