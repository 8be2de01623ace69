"""Simulated users who come and go at a server, and the truth about them; what each of their streams
reads is compared with it.

A user that has really left comes back in another *life*: a number that each of its streams sends in
its meta. So a reader of a departure knows which life it belongs to. An absence is either shorter
than the grace period, measured until the new stream has its state, or so long that others have read
of it. So the speed of this machine decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .clients import HOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ("MISTAKES", "PATIENCE", "Crowd", "Findings")

#: What users do, and how often in a hundred times. A second tab is opened, or closed if there is
#: one.
WAYS: Final = {"reload": 35, "second tab": 20, "drop": 20, "leave": 25}

#: How long they are away, in grace periods: at a reload, at a drop, and when they leave. Those who
#: leave also wait until their departure was read.
AWAY: Final = {"reload": (0.0, 0.1), "drop": (0.1, 0.6), "leave": (1.2, 4.0)}

#: The share of those who leave at the end and stay away.
LAST: Final = 0.2

#: Streams that are opened at the same time in the beginning.
OPENING: Final = 50

#: Seconds between comparisons of rosters, how many streams are compared in each besides the hub
#: itself, and comparisons between two lines of progress.
CHECKING, CHECKED, TELLING = 0.5, 20, 20

#: Seconds after a change until a roster must have it.
SETTLED: Final = 2.0

#: Seconds after which an expected event counts as lost.
PATIENCE: Final = 30.0

#: Mistakes that are kept with their text.
SHOWN: Final = 20

#: The names of mistakes.
MISTAKES: Final = {
    "missed": "departures missed",
    "doubled": "departures read twice, or of no member",
    "flaps": "departures read of a user back within the grace",
    "rosters": "rosters that were not the truth",
    "cut": "streams cut by the server",
}


@dataclass
class Findings:
    """The findings of a run."""

    #: How often users did each thing, and how many departures were read, counted for each stream.
    done: Counter[str] = field(default_factory=Counter)
    read: int = 0
    #: Absences that took longer than the grace period though they were meant to be shorter: they
    #: may be announced or not.
    unsure: int = 0
    #: Rosters that were compared, of streams and of the hub.
    checks: int = 0
    most_streams: int = 0
    #: Seconds after the grace period until the first stream, and the last one, has read of a
    #: departure.
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    mistakes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Departure:
    """One real departure: when the last stream closed, and when other streams have read of it."""

    closed_at: float
    first: float | None = None
    last: float = 0.0


class Person:
    """One simulated user."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.life = 0
        self.streams: list[Stream] = []
        #: When the first stream of this life had its state; and when the last one was closed, None
        #: while one is open.
        self.here_since: float | None = None
        self.closed_at: float | None = None
        #: Whether this life is over.
        self.left = False


class Step(NamedTuple):
    """A diff: which users left, in which life and why; and which joined, in which life."""

    left: list[tuple[str, int, str]]
    joined: list[tuple[str, int]]


@lru_cache(maxsize=256)
def read_diff(data: bytes) -> Step:
    """Return what a diff says; every stream gets the same diff, so the text is parsed once."""
    said = json.loads(data)
    left = [
        (name, member["metas"][0]["data"], member["reason"])
        for name, member in said["leaves"].items()
    ]
    return Step(
        left, [(name, member["metas"][0]["data"]) for name, member in said["joins"].items()]
    )


class Stream(asyncio.Protocol):
    """One stream, and what it has read."""

    def __init__(self, crowd: Crowd, person: Person, tab: str) -> None:
        self.crowd = crowd
        self.person = person
        self.tab = tab
        self.roster: dict[str, int] = {}
        #: Done when its state is complete.
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed = False
        self._head = True
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        path = f"/events?name={self.person.name}&tab={self.tab}&life={self.person.life}"
        transport.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    def connection_lost(self, error: Exception | None) -> None:
        """Record an end that was not wanted."""
        if not self.closed:
            self.crowd.mistake("cut", f"a stream of {self.person.name} was cut: {error}")
            self.crowd.streams.pop(self, None)

    def close(self) -> None:
        """Leave, in one of two ways."""
        self.closed = True
        self.crowd.streams.pop(self, None)
        (self.transport.abort if self.crowd.dice.random() < 0.5 else self.transport.close)()

    def data_received(self, data: bytes) -> None:
        """Read the events that are complete."""
        self._buffer += data
        if self._head:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            self._head, self._buffer = False, rest
            if b" 200 " not in head.partition(b"\r\n")[0]:
                self.crowd.mistake("cut", f"{self.person.name} was answered {head[:80]!r}")
        while not self.closed:
            size, separator, rest = self._buffer.partition(b"\r\n")
            if not separator or len(rest) < (length := int(size, 16)) + 2:
                return
            self._buffer = rest[length + 2 :]
            for block in rest[:length].split(b"\n\n"):
                if block.startswith(b"event: presence_"):
                    event, _, text = block.partition(b"\ndata: ")
                    (self._diff if event.endswith(b"diff") else self._state)(text)

    def _state(self, text: bytes) -> None:
        state = json.loads(text)
        if state["part"] == 1:
            self.roster = {}
        self.roster.update(
            {name: member["metas"][0]["data"] for name, member in state["members"].items()}
        )
        if state["omitted"] or self.opened.done():
            self.crowd.mistake(
                "rosters", f"{self.person.name} got a second state, or one that leaves members out"
            )
        elif state["part"] == state["parts"]:
            self.opened.set_result(None)

    def _diff(self, text: bytes) -> None:
        step = read_diff(text)
        for name, life, reason in step.left:
            if self.roster.get(name) != life:
                self.crowd.mistake(
                    "doubled", f"{self.person.name} read that {name} left, who was not there"
                )
            self.roster.pop(name, None)
            self.crowd.judge_left(self, name, life, reason)
        for name, life in step.joined:
            known = self.roster.get(name)
            if known == life:
                self.crowd.mistake(
                    "flaps", f"{self.person.name} read of {name} again, who was there"
                )
            elif known is not None:
                self.crowd.mistake(
                    "missed",
                    f"{self.person.name} read that {name} joined, and not that he had left",
                )
            self.roster[name] = life


class Crowd:
    """Simulated users, and the truth about them.

    Args:
        port: the server's port.
        ask: returns the present members, as the hub knows them.
        members: how many users.
        seconds: how long they come and go.
        grace: the hub's grace period, in seconds.
        rate: departures per second, on average.
        seed: of all random choices.
        report: called now and then with a line of progress.
    """

    def __init__(
        self,
        port: int,
        ask: Callable[[], Awaitable[set[str]]],
        *,
        members: int,
        seconds: float,
        grace: float,
        rate: float,
        seed: int = 1,
        report: Callable[[str], object] = str,
    ) -> None:
        self.port = port
        self.grace = grace
        self.dice = random.Random(seed)
        self.people = {f"m{number}": Person(f"m{number}") for number in range(members)}
        #: Every stream that is open and has its state.
        self.streams: dict[Stream, None] = {}
        self.departures: dict[tuple[str, int], Departure] = {}
        self.findings = Findings()
        self._ask = ask
        self._seconds = seconds
        #: Seconds between two things that a user does.
        self._pause = members / (rate * sum(WAYS.values()) / WAYS["leave"])
        self._unsure: set[tuple[str, int]] = set()
        self._report = report

    async def run(self) -> Findings:
        """Let all users come, come and go, and rest; return the findings."""
        people = list(self.people.values())
        for first in range(0, len(people), OPENING):
            await asyncio.gather(
                *(self._open(person, "t1") for person in people[first : first + OPENING])
            )
        self._report(f"{len(people):,} are here")
        began = time.monotonic()
        until = began + self._seconds
        living = asyncio.gather(*(self._live(person, until) for person in people))
        for turn in count(1):
            await asyncio.sleep(CHECKING)
            if living.done():
                break
            await self._check()
            self.findings.most_streams = max(self.findings.most_streams, len(self.streams))
            if turn % TELLING == 0:
                self._report(
                    f"{len(self.departures):,} departures, {self.findings.read:,} times read"
                )
        await living
        await self._rest()
        self.findings.seconds = time.monotonic() - began
        for stream in list(self.streams):
            stream.close()
        for departure in self.departures.values():
            if departure.first is not None:
                self.findings.first.append(departure.first - departure.closed_at - self.grace)
                self.findings.last.append(departure.last - departure.closed_at - self.grace)
        return self.findings

    def mistake(self, kind: str, what: str) -> None:
        """Record a difference from the truth."""
        self.findings.mistakes[kind] += 1
        if len(self.findings.wrong) < SHOWN:
            self.findings.wrong.append(what)

    def judge_left(self, stream: Stream, name: str, life: int, reason: str) -> None:
        """Compare with the truth that a stream has read of a departure."""
        self.findings.read += 1
        now = time.monotonic()
        departure = self.departures.get((name, life))
        if departure is not None:
            if departure.first is None:
                departure.first = now
            departure.last = now
            if now < departure.closed_at + self.grace or reason != "client":
                self.mistake(
                    "flaps",
                    f"{stream.person.name} read too early that {name} left, or why: {reason}",
                )
            return
        person = self.people[name]
        if person.life == life and self._is_late(person, now):
            self._unsure.add((name, life))
        if (name, life) not in self._unsure:
            self.mistake("flaps", f"{stream.person.name} read that {name} left, who did not")

    # -- what users do

    async def _live(self, person: Person, until: float) -> None:
        dice = self.dice
        while (pause := dice.expovariate(1 / self._pause)) + time.monotonic() < until:
            await asyncio.sleep(pause)
            (what,) = dice.choices(list(WAYS), WAYS.values())
            self.findings.done[what] += 1
            if what == "second tab":
                if len(person.streams) > 1:
                    person.streams.pop(dice.randrange(len(person.streams))).close()
                else:
                    await self._open(person, "t2" if person.streams[0].tab == "t1" else "t1")
                continue
            departure = self._close(person, leave=what == "leave")
            await asyncio.sleep(dice.uniform(*AWAY[what]) * self.grace)
            if departure is not None:
                await self._until(lambda: departure.first is not None)  # noqa: B023  # awaited here
                person.life += 1
                person.left, person.closed_at, person.here_since = False, None, None
            await self._open(person, dice.choice(("t1", "t1", "t3")))
        if dice.random() < LAST:
            self.findings.done["leave"] += 1
            self._close(person, leave=True)

    def _close(self, person: Person, *, leave: bool) -> Departure | None:
        # Before the close, because the server cannot notice it earlier.
        person.closed_at = time.monotonic()
        while person.streams:
            person.streams.pop().close()
        if not leave:
            return None
        person.left = True
        departure = self.departures[person.name, person.life] = Departure(person.closed_at)
        return departure

    async def _open(self, person: Person, tab: str) -> None:
        stream = Stream(self, person, tab)
        await asyncio.get_running_loop().create_connection(lambda: stream, HOST, self.port)
        await asyncio.wait_for(stream.opened, PATIENCE)
        now = time.monotonic()
        if self._is_late(person, now):
            self._unsure.add((person.name, person.life))
            self.findings.unsure += 1
        person.closed_at = None
        if person.here_since is None:
            person.here_since = now
        person.streams.append(stream)
        self.streams[stream] = None

    def _is_late(self, person: Person, now: float) -> bool:
        """Tell whether a user that is about to be back within the grace period, or just is, has
        taken longer than that.
        """
        return person.closed_at is not None and now >= person.closed_at + self.grace

    # -- comparisons

    def _truth(self) -> tuple[dict[str, int], set[str]]:
        """Return the members that are here for every stream, with their lives, and those that are
        not; a member that has just changed is in neither.
        """
        now = time.monotonic()
        here, gone = {}, set()
        for name, person in self.people.items():
            if person.left:
                if now > self.departures[name, person.life].closed_at + self.grace + SETTLED:
                    gone.add(name)
            elif (name, person.life) in self._unsure or person.here_since is None:
                continue
            elif now > person.here_since + SETTLED and not self._is_late(person, now):
                here[name] = person.life
        return here, gone

    async def _check(self) -> None:
        here, gone = self._truth()
        for stream in self.dice.sample(list(self.streams), min(CHECKED, len(self.streams))):
            self._compare(f"the roster of {stream.person.name}", stream.roster, here, gone)
        hubs = await self._ask()
        later, still_gone = self._truth()
        # Members that have changed while the hub was asked are left out.
        steady = {name: life for name, life in here.items() if later.get(name) == life}
        self._compare("the hub", dict.fromkeys(hubs), steady, gone & still_gone)

    def _compare(
        self, whose: str, roster: dict[str, Any], here: dict[str, int], gone: set[str]
    ) -> None:
        self.findings.checks += 1
        lacking = [name for name, life in here.items() if roster.get(name, -1) not in (life, None)]
        stale = [name for name in gone if name in roster]
        if lacking:
            self.mistake("rosters", f"{whose} has not, or in another life: {lacking[:5]}")
        if stale:
            self.mistake("missed", f"{whose} still has: {stale[:5]}")

    async def _rest(self) -> None:
        """Wait until everything has been announced, and as long again; then compare every roster
        with the truth, name by name.
        """
        truth = {name: person.life for name, person in self.people.items() if not person.left}
        await self._until(lambda: all(stream.roster == truth for stream in self.streams))
        await asyncio.sleep(self.grace + SETTLED)
        for stream in self.streams:
            self._compare(
                f"at the end, {stream.person.name}",
                stream.roster,
                truth,
                set(self.people) - set(truth),
            )
        self._compare(
            "at the end, the hub",
            dict.fromkeys(await self._ask()),
            truth,
            set(self.people) - set(truth),
        )
        unread = sum(departure.first is None for departure in self.departures.values())
        if unread:
            self.findings.mistakes["missed"] += unread

    async def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110  # many causes
            await asyncio.sleep(0.05)
