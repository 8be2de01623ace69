"""A room full of people who reload, open second tabs, drop and come back, over real sockets and in real time."""

import asyncio
import random
import signal
import time
from collections import Counter

import pytest
from support.lobby import LOBBY, Events, Lobby, Page, key
from support.logs import raised
from support.server import ServerProcess
from support.waiting import eventually
from tornado.web import Application

from benchmarks import presence as benchmark
from benchmarks.users import WAYS, Crowd
from sfere_tornado import leave
from sfere_tornado.config import GraceConfig, PresenceConfig
from sfere_tornado.presence.events import PresenceEvents
from sfere_tornado.testing import StreamClient

#: Members, and those of them who stay from the beginning to the end and read everything.
MEMBERS, RESIDENTS = 300, 20

#: Seconds: how long everything goes on, and how long a departure waits.
DURATION, GRACE = 7.0, 1.0

#: Absences this near to the grace, in seconds, may be told or not: the room looks at the clock a moment before the test.
UNSURE = 0.05


class Member:
    """One who reloads, opens second tabs, drops and comes back; and what the others should have been told of him."""

    def __init__(self, lobby, name, dice):
        self.lobby, self.name, self.dice = lobby, name, dice
        self.clients = []
        #: When the server saw the last of his streams end; None while one is open.
        self.gone_at = None
        self.departures = self.unsure = self.silent = 0

    def arrived(self):
        if self.gone_at is not None:
            self.judge(time.monotonic() - self.gone_at)
        self.gone_at = None

    def departed(self):
        if self.lobby.hub.store.count(key(self.name)) == 0:
            self.gone_at = time.monotonic()

    def judge(self, absence):
        if abs(absence - GRACE) < UNSURE:
            self.unsure += 1
        elif absence > GRACE:
            self.departures += 1
        else:
            self.silent += 1

    async def open(self, tab):
        self.clients.append(await self.lobby.enter(self.name, tab=tab))

    async def close(self):
        for client in self.clients:
            self.dice.choice([client.close, client.reset])()
        self.clients.clear()
        await eventually(lambda: self.gone_at is not None)

    async def live(self, until):
        await asyncio.sleep(self.dice.random())
        await self.open("t0")
        while time.monotonic() < until:
            await asyncio.sleep(self.dice.uniform(0.1, 3))
            what = self.dice.choice(["reload", "reload", "second tab", "drop", "vanish", "vanish"])
            if what == "second tab" and len(self.clients) < 3:
                await self.open(f"t{len(self.clients)}")
                continue
            await self.close()
            if what == "drop":
                await asyncio.sleep(self.dice.uniform(0.1, 0.6) * GRACE)
            elif what == "vanish":
                await asyncio.sleep(self.dice.uniform(1.3, 2.5) * GRACE)
            # Another tab, another device, the same member.
            await self.open(self.dice.choice(["t0", "t0", "new"]))
        if self.dice.random() < 0.3:
            await self.close()


async def read(client, page):
    while True:
        page.take([await client.event(timeout=60)])


@pytest.mark.slow
@pytest.mark.gen_test(timeout=120)
async def test_people_who_come_and_go(serve):
    """Each departure is read once by each who stays, a return within the grace by nobody; the roster is always true."""
    members = {}

    class Noted(Events):
        def on_open(self, connection):
            if connection.key.id in members:
                members[connection.key.id].arrived()

        def on_close(self, connection):
            if connection.key.id in members:
                members[connection.key.id].departed()

    grace = GraceConfig(client=GRACE, error=GRACE)
    lobby = Lobby(Noted, presence=PresenceConfig(grace=grace), history=None, timer=time.monotonic)
    lobby.url = serve(lobby.app)
    residents = [await lobby.enter(f"resident {n}", tab="r") for n in range(RESIDENTS)]
    pages = [Page() for _ in residents]
    reading = [
        asyncio.create_task(read(client, page))
        for client, page in zip(residents, pages, strict=True)
    ]
    dice = random.Random(9)
    for n in range(MEMBERS - RESIDENTS):
        members[f"member {n}"] = Member(lobby, f"member {n}", dice)
    until = time.monotonic() + DURATION
    living = [asyncio.create_task(member.live(until)) for member in members.values()]
    while not all(task.done() for task in living):
        before = time.monotonic()
        await asyncio.sleep(0.25)  # between two checks
        now = time.monotonic()
        # While the loop is late, the clock of graces stands still for as long and 0.25 s.
        late = now - before - 0.25
        unsure = UNSURE if late < UNSURE else UNSURE + 2 * late + 0.5
        roster = {member.key.id for member in lobby.hub.presence.roster(LOBBY)}
        for name, member in members.items():
            absence = None if member.gone_at is None else now - member.gone_at
            there = lobby.hub.store.count(key(name)) > 0
            if absence is None or abs(absence - GRACE) > unsure:
                assert (name in roster) is (there or (absence is not None and absence < GRACE)), (
                    name
                )
    await asyncio.gather(*living)
    gone = {name for name, member in members.items() if member.gone_at is not None}
    await eventually(lambda: all(set(page.roster) & gone == set() for page in pages))
    for name in gone:
        members[name].judge(10 * GRACE)

    present = {f"resident {n}" for n in range(RESIDENTS)} | (set(members) - gone)
    for page in pages:
        assert set(page.roster) == present
        assert not any(page.roster.values())
        assert page.left == pages[0].left
        assert {reason for _, reason in page.left} == {"client"}
    times = Counter(name for name, _ in pages[0].left)
    wrong = {
        name: (times[name], member.departures, member.unsure)
        for name, member in members.items()
        if not member.departures <= times[name] <= member.departures + member.unsure
    }
    assert wrong == {}
    assert sum(member.departures for member in members.values()) > 200
    assert sum(member.silent for member in members.values()) > 200
    assert Counter(lobby.told("left")) == times
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)


#: A hub as a process of its own, which can be stopped.
SERVER = """
import asyncio, sys
from tornado.web import Application
from sfere_tornado import Hub, HubConfig, SSEHandler
from sfere_tornado.config import GraceConfig, PresenceConfig

class Events(SSEHandler):
    def connection_key(self):
        return ("lobby", self.get_query_argument("name"))

async def main():
    hub = Hub(HubConfig(presence=PresenceConfig(grace=GraceConfig(client=float(sys.argv[1])))))
    print(hub.listen(Application([("/events", Events)]), 0), flush=True)
    await hub.run_until_signal(window=0)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.gen_test(timeout=60)
async def test_a_process_that_was_stopped_takes_nobody_for_gone(io_loop):
    """Stopped in the middle of a grace, for longer than that: who comes back meanwhile was never gone, who does not has left."""

    async def enter(name):
        return await StreamClient.open(f"{server.url}/events?name={name}")

    async with ServerProcess(SERVER, 3.0) as server:
        phil, ann, brian = await enter("phil"), await enter("ann"), await enter("brian")
        page = Page().take(await phil.quiet())
        ann.close()
        brian.close()
        page.take(await phil.quiet(0.3))
        server.signal(signal.SIGSTOP)
        coming = asyncio.ensure_future(enter("ann"))
        await asyncio.sleep(5)  # beyond the grace; a process can only be stopped in real time
        server.signal(signal.SIGCONT)
        await coming
        page.take(await phil.quiet(0.3))
        assert (page.left, set(page.roster)) == ([], {"phil", "ann", "brian"})
        while not page.left:
            page.take([await phil.event("presence_diff")])
        page.take(await phil.quiet(1))
        assert (page.left, page.joined) == ([("brian", "client")], ["ann", "brian"])
        server.signal()
        assert await server.ended() == 0
        assert server.log == ""


# -- the people of the benchmark


async def crowd(serve, hub, monkeypatch, **ways):
    """Let a small crowd come and go for a moment; returns what was found."""
    for name, value in {"CHECKING": 0.1, "SETTLED": 0.5, "PATIENCE": 2.0, **ways}.items():
        monkeypatch.setattr(f"benchmarks.users.{name}", value)
    port = int(serve(Application([("/events", benchmark.Events)], sfere=hub)).rpartition(":")[2])

    async def ask():
        return benchmark.present(hub)

    return await Crowd(port, ask, members=30, seconds=1.5, grace=0.3, rate=15.0).run()


@pytest.mark.gen_test(timeout=30)
async def test_a_crowd_that_comes_and_goes(serve, monkeypatch):
    """People do everything that people do, others read of each departure once, and each roster that is looked at is true."""
    found = await crowd(serve, benchmark.make_hub(0.3), monkeypatch)
    assert (found.mistakes, found.wrong) == ({}, [])
    assert min(found.done[way] for way in WAYS) > 0
    assert found.read > 10 * found.done["leave"]
    assert found.checks > 100
    assert 0 <= min(found.first) <= min(found.last)


class Faulty(PresenceEvents):
    """Makes events with a fault, of which each test has one."""

    fault = ""

    def diff(self, changes):
        changes = list(changes)
        if self.fault == "nobody leaves":
            changes = [change for change in changes if change.kind != "left"]
        events = super().diff(changes)
        return events * 2 if self.fault == "all twice" else events

    def state(self, members):
        return super().state(members[:-3] if self.fault == "left out" else members)


@pytest.mark.parametrize(
    ("grace", "fault", "mistakes"),
    [
        (0.0, "", {"flaps"}),
        (60.0, "", {"missed"}),
        (0.3, "nobody leaves", {"missed"}),
        (0.3, "all twice", {"doubled", "flaps"}),
        (0.3, "left out", {"rosters", "doubled"}),
    ],
    ids=["no grace", "grace without end", "nobody leaves", "all twice", "left out"],
)
@pytest.mark.slow
@pytest.mark.gen_test(timeout=60)
async def test_the_crowd_finds_out_what_is_wrong(serve, monkeypatch, grace, fault, mistakes):
    """Reloads that are told, departures that are not, or twice, and rosters without somebody are found out."""
    monkeypatch.setattr(Faulty, "fault", fault)
    monkeypatch.setattr("sfere_tornado.presence.announcer.PresenceEvents", Faulty)
    found = await crowd(serve, benchmark.make_hub(grace), monkeypatch, PATIENCE=0.5)
    assert mistakes <= set(found.mistakes), found.wrong
    assert found.wrong


@pytest.mark.gen_test(timeout=60)
async def test_a_thousand_who_leave_at_once(serve):
    """Each is told once, in slices between which the loop turns; nobody who has left is among those who remain."""
    lobby = Lobby(presence=PresenceConfig(large=2000))
    lobby.url = serve(lobby.app)
    phil = await lobby.enter("phil")
    crowd = []
    for first in range(0, 1000, 100):
        crowd += await asyncio.gather(*(lobby.enter(f"m{n}") for n in range(first, first + 100)))
    lobby.pass_time(1)
    assert len(lobby.hub.presence.roster(LOBBY)) == 1001
    for client in crowd:
        client.close()
    await eventually(lambda: lobby.hub.store.count() == 1)
    assert lobby.told("left") == []
    # The clock of graces stands still while the alarm is overdue, as on a busy machine.
    await eventually(lambda: not lobby.hub.clock._alarm._catching_up)
    lobby.clock.advance(6)
    lobby.hub.clock.tick()
    assert (len(lobby.told("left")), lobby.hub.clock.due_in() <= 0) == (250, True)
    assert [member.key.id for member in lobby.hub.presence.roster(LOBBY)] == ["phil"]
    lobby.pass_time(1)
    left = [change for change in lobby.changes if change[0] == "left"]
    assert sorted(name for _, name, *_ in left) == sorted(f"m{n}" for n in range(1000))
    assert {(reason, *remaining) for *_, reason, remaining in left} == {("client", "phil")}
    page = Page().take(await phil.quiet(0.3))
    assert len(page.left) == len(set(page.left)) == 1000
    assert page.roster == {"phil": False}


@pytest.mark.gen_test
async def test_departures_that_announcements_cause(serve):
    """One goes because the other has gone: each is told once, in order, to all who remain, however long the row is."""
    lobby = Lobby()
    lobby.url = serve(lobby.app)
    phil = await lobby.enter("phil")
    row = [await lobby.enter(f"m{n}") for n in range(60)]
    lobby.pass_time(1)

    @lobby.hub.on_presence
    def follow(change):
        if change.kind == "left":
            return leave(key(f"m{int(change.key.id[1:]) + 1}"))
        return None

    row[0].close()
    await eventually(lambda: lobby.state("m0") == "away")
    lobby.pass_time(5)
    lobby.pass_time(1)
    assert lobby.told("left") == [f"m{n}" for n in range(60)]
    for number, (*_, remaining) in enumerate(
        change for change in lobby.changes if change[0] == "left"
    ):
        assert remaining == ["phil", *(f"m{n}" for n in range(number + 1, 60))]
    assert [await client.ended() for client in row[1:]] == [True] * 59
    page = Page().take(await phil.quiet())
    assert page.left == [("m0", "client"), *((f"m{n}", "leave") for n in range(1, 60))]
    assert page.roster == {"phil": False}


@pytest.mark.gen_test
async def test_a_callback_that_fails(serve, caplog):
    """The other callbacks and all who remain are told as ever; each failure is logged once."""
    lobby = Lobby()
    lobby.url = serve(lobby.app)

    @lobby.hub.on_presence
    def failing(change):
        raise LookupError(change.key.id)

    last = []
    lobby.hub.on_presence(lambda change: last.append((change.kind, change.key.id)))
    phil, brian = await lobby.enter("phil"), await lobby.enter("brian")
    brian.close()
    await eventually(lambda: lobby.state("brian") == "away")
    lobby.pass_time(5)
    assert last == [("joined", "phil"), ("joined", "brian"), ("left", "brian")]
    assert Page().take(await phil.quiet()).left == [("brian", "client")]
    assert len(raised(caplog, "LookupError")) == 3
