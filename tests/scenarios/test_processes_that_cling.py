"""SIGTERM to a process that something keeps alive: it ends within its time-out, with exit code 0."""

import signal
import time

import pytest
from support.server import ServerProcess

from sfere_tornado.testing import StreamClient
from sfere_tornado.testing.stream_client import request_bytes

#: Seconds that the server may take to stop; its process has ended a second later. A quarter of a
#: second more is what the system takes to end a process and to say so.
TIMEOUT, SLACK = 1.0, 1.25

SERVER = """
import asyncio, logging, sys, threading, time
from tornado.web import Application, RequestHandler
from sfere_tornado import Hub, HubConfig, LimitsConfig, SSEHandler

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
what, timeout = sys.argv[1], float(sys.argv[2])
hub = Hub(HubConfig(limits=LimitsConfig(total=100)))

async def cling():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))

    def on_close(self, connection):
        if what == "exit":
            sys.exit(3)
        if what == "thread of on_close":
            threading.Thread(target=time.sleep, args=(3600,)).start()

class Post(RequestHandler):
    async def post(self):
        await cling()

async def main():
    kept = []
    app = Application([("/events", Events), ("/post", Post)], sfere=hub)
    print(hub.listen(app, 0), flush=True)
    if what == "executor":
        kept.append(asyncio.ensure_future(asyncio.to_thread(time.sleep, 3600)))
    if what == "thread":
        threading.Thread(target=time.sleep, args=(3600,)).start()
    if what == "task":
        kept.append(asyncio.ensure_future(cling()))
    await hub.run_until_signal(window=0, timeout=timeout)

asyncio.run(main())
"""


CLINGING = ("nothing", "executor", "thread", "task", "post", "exit", "thread of on_close")


@pytest.mark.parametrize(
    ("what", "number"),
    [*((what, signal.SIGTERM) for what in CLINGING), ("task", signal.SIGINT)],
)
@pytest.mark.gen_test(timeout=40)
async def test_a_process_ends_in_time_whatever_clings_to_it(what, number):
    """Threads, tasks that ignore cancellation, requests and exits do not keep the process, or its code."""
    async with ServerProcess(SERVER, what, TIMEOUT) as server:
        client = await StreamClient.open(f"{server.url}/events?name=brian")
        poster = await StreamClient.connect(server.url)
        if what == "post":
            await poster.send(request_bytes(f"{server.url}/post", method="POST", body=b" "))
        began = time.monotonic()
        server.signal(number)
        code = await server.ended()
        took = time.monotonic() - began
        client.close()
        poster.close()
    assert (code, took <= TIMEOUT + SLACK) == (0, True), f"{took:.1f} s\n{server.log}"
    assert "Traceback" not in server.log or what == "exit"
