"""Every way to go, over real sockets: what the roster says, and when, why and how often the others are told.

The rows of the table in ``docs/departures.rst`` are the arguments of :func:`row` here.
"""

import asyncio
import re
import signal
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from support.census import leave_all
from support.lobby import LONG, Lobby, Page, key
from support.mute import AVAILABLE, MISSING, pull_the_cable
from support.waiting import eventually

from sfere_tornado import StoreConfig, StreamConfig, leave, send, with_connection
from sfere_tornado.streams.connection import AWAY

TABLE = Path(__file__).parents[2] / "docs" / "departures.rst"

#: Longer than any grace, in seconds.
LONG_ENOUGH = 700

#: A client as a process of its own, which can be killed.
PROCESS = """
import socket, sys, time
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(b"GET /events?name=brian&tab=t1 HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
client.recv(4096)
print("open", flush=True)
time.sleep(60)
"""


class Row(NamedTuple):
    """One line of the table."""

    way: str
    roster: str
    after: str
    reason: str
    times: str


ROWS = []


def row(way, roster, after, reason, times):
    """Return a line of the table, which the test that asks for it has to show."""
    ROWS.append(Row(way, roster, after, reason, times))
    return pytest.mark.parametrize("wanted", [ROWS[-1]], ids=[way])


class Scene:
    """Brian and Phil are in a lobby; what becomes of Brian is read by Phil."""

    def __init__(self, serve):
        self.serve = serve
        self.page = Page()
        self.lobbies = []

    async def open(self, **settings):
        self.lobby = Lobby(**settings)
        self.lobby.url = self.serve(self.lobby.app)
        self.lobbies.append(self.lobby)
        self.census = self.serve.census(self.lobby.hub)
        self.phil = await self.lobby.enter("phil", tab="p1")
        self.page.take([await self.phil.event("presence_state")])
        return self.lobby

    async def brian(self, **query):
        client = await self.lobby.enter("brian", **{"tab": "t1", **query})
        await self.connections(1)
        return client

    async def connections(self, count):
        """Wait until Brian has so many streams."""
        await eventually(lambda: self.lobby.hub.store.count(key("brian")) == count)

    async def outcome(self, way, roster):
        """Let time pass until long after any grace; returns the line of the table that this shows."""
        lobby = self.lobby
        passed = 0
        while not lobby.told("left") and passed < LONG_ENOUGH:
            lobby.pass_time(1)
            passed += 1
        after = passed if lobby.told("left") else None
        lobby.pass_time(LONG_ENOUGH)
        self.page.take(await self.phil.quiet())
        # Phil has read the same as the callback was told, and he is among those who remain.
        left = [
            (name, reason, remain) for kind, name, reason, remain in lobby.changes if kind == "left"
        ]
        assert self.page.left == [(name, reason) for name, reason, _ in left]
        assert {name for name, _, _ in left} <= {"brian"}
        assert all("phil" in remain and "brian" not in remain for *_, remain in left)
        assert self.page.joined.count("brian") == lobby.told("joined").count("brian") <= 1
        assert ("brian" in self.page.roster) is (lobby.state("brian") != "gone") is (not left)
        reason = left[0][1] if left else "none"
        return Row(way, roster, "never" if after is None else f"{after} s", reason, f"{len(left)}")

    async def empty(self):
        """Let all clients go; nothing of them may stay."""
        await leave_all([client for lobby in self.lobbies for client in lobby.clients])
        await eventually(lambda: not any(lobby.hub.streams for lobby in self.lobbies))
        self.lobby.pass_time(LONG_ENOUGH)
        await self.census.empty()


@pytest.fixture
def scene(serve, io_loop):
    scene = Scene(serve)
    yield scene
    io_loop.run_sync(scene.empty, timeout=20)


@row("leave button", "gone", "0 s", "leave", "1")
@pytest.mark.gen_test
async def test_the_leave_button(scene, wanted):
    """Who says that he leaves has left at once, with all his tabs, which stay away."""
    lobby = await scene.open()
    brian, second = await scene.brian(), await lobby.enter("brian", tab="t2")
    assert await lobby.sign("brian", sign="leave") == 204
    assert [await brian.ended(), await second.ended()] == [True, True]
    assert [brian.parser.retry, second.parser.retry] == [AWAY, AWAY]
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("tab closed", "away", "5 s", "client", "1")
@pytest.mark.gen_test
async def test_a_tab_that_is_closed(scene, wanted):
    """A closed stream may be a reload: it is told after the grace."""
    lobby = await scene.open()
    (await scene.brian()).close()
    await scene.connections(0)
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("browser killed", "away", "5 s", "client", "1")
@pytest.mark.gen_test
async def test_a_browser_that_is_killed(scene, wanted):
    """The kernel closes the connections of a dead process, which looks like a tab that is closed."""
    lobby = await scene.open()
    port = lobby.url.rpartition(":")[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESS, port, stdout=asyncio.subprocess.PIPE
    )
    assert await process.stdout.readline() == b"open\n"
    assert lobby.state("brian") == "here"
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await scene.connections(0)
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("reload", "away", "never", "none", "0")
@pytest.mark.gen_test
async def test_a_reload(scene, wanted):
    """The same tab is back within the grace: nothing is told, neither left nor joined nor away."""
    lobby = await scene.open()
    for _ in range(3):
        (await scene.brian()).close()
        await scene.connections(0)
        meanwhile = lobby.state("brian")
        lobby.pass_time(4.9)
    await scene.brian()
    assert lobby.state("brian") == "here"
    assert await scene.outcome(wanted.way, meanwhile) == wanted
    assert [change for change in lobby.changes if change[1] == "brian"] == [
        ("joined", "brian", None, [])
    ]


@row("second tab closed", "here", "never", "none", "0")
@pytest.mark.gen_test
async def test_a_second_tab_that_is_closed(scene, wanted):
    """Two tabs are one member."""
    lobby = await scene.open()
    await scene.brian()
    (await lobby.enter("brian", tab="t2")).close()
    await eventually(lambda: len(lobby.hub.streams) == 2)
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("tab hidden", "away", "never", "none", "0")
@pytest.mark.gen_test
async def test_a_hidden_tab(scene, wanted):
    """The others see it as away at once, and as back; nobody has left."""
    lobby = await scene.open()
    await scene.brian()
    assert await lobby.sign("brian", sign="hidden", tab="t1") == 204
    roster = lobby.state("brian")
    assert await scene.outcome(wanted.way, roster) == wanted
    assert scene.page.roster == {"phil": False, "brian": True}
    assert await lobby.sign("brian", sign="visible", tab="t1") == 204
    assert scene.page.take(await scene.phil.quiet()).roster == {"phil": False, "brian": False}
    assert (lobby.told("away"), lobby.told("back")) == (["brian"], ["brian"])


@row("tab hidden, and its stream closed", "away", "600 s", "client", "1")
@pytest.mark.gen_test
async def test_a_stream_that_closes_while_hidden(scene, wanted):
    """Client libraries that close the streams of hidden tabs are waited for as long as a lease lasts."""
    lobby = await scene.open()
    brian = await scene.brian()
    await lobby.sign("brian", sign="hidden", tab="t1")
    brian.close()
    await scene.connections(0)
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@pytest.mark.skipif(not AVAILABLE, reason=MISSING)
@row("phone in a tunnel", "here", "never", "none", "0")
@pytest.mark.gen_test(timeout=30)
async def test_a_phone_in_a_tunnel(scene, wanted):
    """It vanishes without a word, comes back on another connection, and is told what was said; its old one costs nothing."""
    lobby = await scene.open(stream=StreamConfig(user_timeout=1.0))
    brian = await scene.brian()
    lobby.say("before")
    assert (await brian.event("said")).data == "before"
    pull_the_cable(brian)
    lobby.say("in the tunnel")
    roster = lobby.state("brian")
    back = await lobby.enter("brian", tab="t1", last=brian.parser.last_event_id)
    assert (await back.event()).data == "in the tunnel"
    await scene.connections(1)  # the kernel gives the old one up
    assert await scene.outcome(wanted.way, roster) == wanted
    assert lobby.told("away") == []


@pytest.mark.skipif(not AVAILABLE, reason=MISSING)
@row("cable pulled", "gone", "0 s", "timeout", "1")
@pytest.mark.gen_test(timeout=30)
async def test_a_cable_that_is_pulled(scene, wanted):
    """Nothing comes from the client any more: an unacknowledged heartbeat gives it away, and that was the wait."""
    lobby = await scene.open(stream=StreamConfig(user_timeout=1.0))
    pull_the_cable(await scene.brian())
    lobby.pass_time(5)
    assert lobby.state("brian") == "here"
    for _ in range(3):
        lobby.pass_time(5)  # a heartbeat at the latest
    await scene.connections(0)
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("slow reader cut", "away", "5 s", "slow", "1")
@pytest.mark.gen_test(timeout=30)
async def test_a_slow_reader(scene, wanted):
    """Who does not read is cut at the bound, and most often comes back like anybody whose connection broke."""
    lobby = await scene.open(stream=StreamConfig(max_outbox=65536, max_event_size=65536))
    await scene.brian()
    while lobby.hub.store.count(key("brian")):
        lobby.hub.dispatch(with_connection(key("brian"), send("x" * 60_000)))
        await asyncio.sleep(0)
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("lease ended", "gone", "0 s", "expired", "1")
@pytest.mark.gen_test
async def test_a_lease_that_ends(scene, wanted):
    """A client behind a proxy that says nothing any more: its lease was the wait."""
    lobby = await scene.open(store=StoreConfig(ttl=2000.0, renewed_by={"request"}))
    brian = await scene.brian()
    lobby.pass_time(1999)
    assert await lobby.sign("phil", sign="beat") == 204
    assert lobby.state("brian") == "here"
    lobby.pass_time(1)
    assert await brian.ended() is False
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("replaced", "here", "never", "none", "0")
@pytest.mark.gen_test
async def test_a_stream_that_is_replaced(scene, wanted):
    """The newest stream wins, its member was here before and is here after."""
    lobby = await scene.open(store=StoreConfig(ttl=86_400.0, same_key="replace"))
    first = await scene.brian()
    second = await lobby.enter("brian", tab="t2")
    assert await first.ended() is True
    assert first.parser.retry == AWAY
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted
    assert scene.page.take(await second.quiet()).roster == {"phil": False, "brian": False}


@row("revoked", "gone", "0 s", "revoked", "1")
@pytest.mark.gen_test
async def test_a_stream_that_is_revoked(scene, wanted):
    """Whose right to be here has ended is gone at once, and told to stay away."""
    lobby = await scene.open()
    brian = await scene.brian()
    assert lobby.hub.revoke(key("brian")) == 1
    assert await brian.ended() is True
    assert brian.parser.retry == AWAY
    assert await scene.outcome(wanted.way, lobby.state("brian")) == wanted


@row("server restarted", "gone", "never", "none", "0")
@pytest.mark.gen_test
async def test_a_server_that_restarts(scene, wanted):
    """A process that stops takes nobody for gone; those who come back to the next one are its members."""
    lobby = await scene.open()
    brian = await scene.brian()
    await lobby.hub.drain(window=0, timeout=5)
    assert [await brian.ended(), await scene.phil.ended()] == [False, False]
    scene.page.take(await scene.phil.quiet())
    lobby.clock.advance(LONG_ENOUGH)
    lobby.hub.clock.tick()
    assert (scene.page.left, lobby.told("left"), lobby.told("away")) == ([], [], [])
    assert Row(wanted.way, lobby.state("brian"), "never", "none", "0") == wanted
    lobby = await scene.open(store=LONG)
    await scene.brian()
    assert scene.page.take(await scene.phil.quiet()).roster == {"phil": False, "brian": False}


@pytest.mark.gen_test
async def test_a_leave_of_one_tab_and_of_a_member_by_the_application(scene):
    """A tab that leaves alone leaves the other here; the effect of the application is the same as the button."""
    lobby = await scene.open()
    brian, second = await scene.brian(), await lobby.enter("brian", tab="t2")
    assert await lobby.sign("brian", sign="leave", tab="t2") == 204
    assert await second.ended() is True
    assert (lobby.state("brian"), lobby.told("left")) == ("here", [])
    lobby.hub.dispatch(leave(key("brian")))
    assert await brian.ended() is True
    assert lobby.told("left") == ["brian"]


def test_the_table_of_the_documentation_is_this_one():
    """The page has a line for each test here, in the same words."""
    text = TABLE.read_text(encoding="utf-8")
    lines = [
        Row(*cells)
        for cells in re.findall(
            r"^   \* - (.+)\n     - (.+)\n     - (.+)\n     - (.+)\n     - (.+)$",
            text,
            re.MULTILINE,
        )
    ]
    assert lines[0] == Row("way to go", "roster says", "announced after", "reason", "times")
    assert lines[1:] == ROWS
