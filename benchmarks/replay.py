"""Clients that are cut at random while events go on at full speed, and come back with their last
id.

What every client must get is known beforehand, byte by byte, and each compares all that it gets.
Server, producer and clients are one process: between two turns of the producer every client makes
progress, and no figure here is a speed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StreamConfig, broadcast, send
from sfere_tornado.config import HistoryConfig
from sfere_tornado.wire.event_stream import Event, encode

from .table import Table, at_least, at_most, progress

if TYPE_CHECKING:
    from collections.abc import Callable

EVERYBODY = (ANY, ANY)

#: Turns of the producer that a client is away, at most; and the mean share of the clients that is
#: away.
AWAY = 20
SHARE = 0.1

#: How much earlier than the last event all cuts are done, as a share.
MARGIN = 0.05

#: Turns whose events are kept when the history is too small: some clients are away for longer, some
#: are not.
FEW = 20

#: Seconds after which clients that have not got everything are given up.
PATIENCE = 120.0

#: Mistakes that are kept with their text.
SHOWN = 20

_CURSOR = re.compile(rb"id: (\d+)-\w+\n\n")


def burst(events: int, clients: int, cuts: int) -> int:
    """Return the mean number of events per turn, so that few enough clients are away."""
    turns = cuts * (AWAY / 2) / (clients * SHARE)
    return max(1, round(events / turns))


class Events(SSEHandler):
    """A stream for each client."""

    def connection_key(self) -> tuple[str, str]:
        """Return the client's number."""
        return ("soak", self.get_query_argument("n"))


@dataclass
class Findings:
    """The findings of a run."""

    events: int = 0
    clients: int = 0
    #: Clients that have got everything up to the end.
    finished: int = 0
    #: Streams cut by their clients, and by the server because its client was slow.
    cuts: int = 0
    slow: int = 0
    #: Events received, and how many of them in replays.
    received: int = 0
    replayed: int = 0
    #: Gaps that were reported.
    gaps: int = 0
    #: Mistakes: an event lost, doubled or out of order, a gap not reported, a gap reported where
    #: there is none.
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Client(asyncio.Protocol):
    """One client, which knows the next event that it must get."""

    def __init__(self, soak: Soak, number: int) -> None:
        self.soak = soak
        self.number = number
        #: The position in the sequence of the next event; None before the first stream has said
        #: where it begins.
        self.next: int | None = None
        self.transport: asyncio.Transport | None = None
        #: Whether it is to leave in the middle of what comes next.
        self.leaving = False
        self.away = False
        self._begin()

    def _begin(self) -> None:
        self._buffer = b""
        self._head = True
        self._gap = False
        self._replaying = self.next is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream, from where it broke off."""
        assert isinstance(transport, asyncio.Transport)
        self._begin()
        self.away = False
        self.transport = transport
        last = "" if self.next is None else f"Last-Event-ID: {self.next - 1}-{self.soak.tag}\r\n"
        transport.write(
            f"GET /events?n={self.number} HTTP/1.1\r\nHost: 127.0.0.1\r\n{last}\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Come back later."""
        if not self.away and not self.soak.stopped:
            self.soak.findings.slow += 1
        self.transport = None
        self.away = True
        self.soak.come_back(self)

    def data_received(self, data: bytes) -> None:
        """Read what comes; a client that is leaving has seen only the beginning of it."""
        leaving = self.leaving
        self._buffer += data[: self.soak.dice.randrange(len(data) + 1)] if leaving else data
        self._read()
        if leaving and self.transport is not None:
            if not self._head and (partial := self._unfinished()):
                self._take(partial)
            self.leaving = False
            self.away = True
            self.soak.findings.cuts += 1
            if self.soak.dice.random() < 0.5:
                self.transport.abort()
            else:
                self.transport.close()

    def _read(self) -> None:
        if self._head:
            head, separator, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                self._buffer = head
                return
            self._head = False
            if b" 200 " not in head.split(b"\r\n")[0]:
                self._wrong(f"was answered {head[:80]!r}")
        while True:
            size, separator, rest = self._buffer.partition(b"\r\n")
            if not separator or len(rest) < (length := int(size, 16)) + 2:
                return
            self._buffer = rest[length + 2 :]
            self._take(rest[:length])

    def _unfinished(self) -> bytes:
        """Return the complete events of a chunk that has not come completely."""
        begun = self._buffer.partition(b"\r\n")[2]
        return begun[: begun.rfind(b"\n\n") + 2] if b"\n\n" in begun else b""

    def _take(self, payload: bytes) -> None:
        expected, starts = self.soak.stream, self.soak.starts
        if self.next is not None and not self._gap:
            begin = starts[self.next - 1] if self.next <= len(starts) else len(expected)
            end = begin + len(payload)
            if expected[begin:end] == payload:
                # As expected, and it ends where an event ends, because a chunk has complete events.
                after = bisect_left(starts, end) + 1
                self._count(after - self.next)
                self.next = after
                return
        for block in payload.removesuffix(b"\n\n").split(b"\n\n"):
            self._take_block(block + b"\n\n")

    def _take_block(self, block: bytes) -> None:
        cursor = _CURSOR.fullmatch(block)
        if block.startswith(b"retry: "):
            return
        if block.startswith(b"event: gap\n"):
            self._gap = True
            self.soak.findings.gaps += 1
        elif cursor is not None:
            self._move(int(cursor[1]) + 1, "the id of this moment")
            self._replaying = False
        else:
            number = int(block[4 : block.index(b"-")])
            if block != self.soak.payload(number):
                self._wrong(f"got {block!r}")
            self._move(number, f"event {number}")
            self._count(1)
            self.next = number + 1

    def _move(self, place: int, what: str) -> None:
        """Compare the position of what has come with the expected one."""
        expected = place if self.next is None else self.next
        if place < expected:
            self._wrong(f"got {what} again, or out of order, where {expected} was next")
        elif place > expected and not self._gap:
            self._wrong(f"got {what} where {expected} was next, and no gap was reported")
        elif place == expected and self._gap:
            self._wrong(f"got a gap before {what}, and misses nothing")
        self._gap = False
        self.next = place

    def _count(self, events: int) -> None:
        self.soak.findings.received += events
        if self._replaying:
            self.soak.findings.replayed += events

    def _wrong(self, what: str) -> None:
        if len(self.soak.findings.wrong) < SHOWN:
            self.soak.findings.wrong.append(f"client {self.number} {what}")


class Soak:
    """A server, a producer and clients.

    Args:
        events: how many.
        clients: how many, all of which get every event.
        cuts: how often one of them is cut, at least.
        kept: events in the history.
        seed: of all random choices.
        report: called now and then with a line of progress.
    """

    def __init__(
        self,
        *,
        events: int,
        clients: int,
        cuts: int,
        kept: int,
        seed: int = 1,
        report: Callable[[str], object] = str,
    ) -> None:
        self.dice = random.Random(seed)
        self.cuts = cuts
        self.report = report
        history = HistoryConfig(count=kept, age=86_400.0, bytes=1024 * 1024 * 1024)
        # Their clients come back to the same key, sometimes before the last stream is known to have
        # ended.
        self.hub = Hub(HubConfig(stream=StreamConfig(heartbeat=3600.0), history=history))
        self.tag = self.hub.history.tag
        self.findings = Findings(events, clients)
        #: Everything that is going to be sent, and where each event begins in it.
        payloads = [self.payload(number) for number in range(1, events + 1)]
        self.stream = b"".join(payloads)
        self.starts: list[int] = []
        begin = 0
        for payload in payloads:
            self.starts.append(begin)
            begin += len(payload)
        self.turn = 0
        self._burst = burst(events, clients, cuts)
        self._coming: dict[int, list[Client]] = {}
        self._clients = [Client(self, number) for number in range(clients)]
        self._connecting: set[asyncio.Task[None]] = set()
        self.stopped = False

    def payload(self, number: int) -> bytes:
        """Return the bytes of an event on the wire."""
        return encode(Event(_text(number), id=f"{number}-{self.tag}"))

    def come_back(self, client: Client) -> None:
        """Let a client open a stream again after some turns."""
        if not self.stopped:
            self._coming.setdefault(self.turn + self.dice.randrange(1, AWAY), []).append(client)

    async def run(self) -> Findings:
        """Send everything, wait until every client has got it, and return the findings."""
        began = time.perf_counter()
        server = HTTPServer(
            Application([("/events", Events)], sfere=self.hub, log_function=_no_log)
        )
        sockets = bind_sockets(0, "127.0.0.1", backlog=4096)
        server.add_sockets(sockets)
        self._port = sockets[0].getsockname()[1]
        try:
            for client in self._clients:
                self._connect(client)
            await self._until(lambda: all(client.next is not None for client in self._clients))
            await self._produce()
            await self._until(self._all_finished)
        finally:
            self.stopped = True
            self.findings.finished = sum(
                client.next == self.findings.events + 1 for client in self._clients
            )
            server.stop()
            await self.hub.stop()
            await server.close_all_connections()
            await self._until(
                lambda: (
                    all(client.transport is None for client in self._clients)
                    and not self._connecting
                )
            )
        self.findings.seconds = time.perf_counter() - began
        return self.findings

    async def _produce(self) -> None:
        sent, events = 0, self.findings.events
        while sent < events:
            count = min(self.dice.randrange(1, 2 * self._burst + 1), events - sent)
            for number in range(sent + 1, sent + count + 1):
                self.hub.dispatch(broadcast(EVERYBODY, send(_text(number))))
            sent += count
            # Cut as many now as are needed to have cut all before the end.
            leaving = sum(client.leaving for client in self._clients)
            due = (
                round(min(self.cuts, self.cuts * sent / events * (1 + MARGIN)))
                - self.findings.cuts
                - leaving
            )
            present = [
                client
                for client in self._clients
                if client.transport is not None and not client.leaving
            ]
            for client in self.dice.sample(present, max(0, min(len(present), due))):
                client.leaving = True
            await self._next_turn()
            if self.turn % 200 == 0:
                self.report(
                    f"{sent:,} events, {self.findings.cuts:,} cuts, "
                    f"{self.findings.replayed:,} replayed"
                )

    async def _next_turn(self) -> None:
        self.turn += 1
        for client in self._coming.pop(self.turn, ()):
            self._connect(client)
        await asyncio.sleep(0)

    def _all_finished(self) -> bool:
        for client in self._clients:
            client.leaving = False
        return all(client.next == self.findings.events + 1 for client in self._clients)

    async def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline:
            await self._next_turn()

    def _connect(self, client: Client) -> None:
        task = asyncio.get_running_loop().create_task(self._open(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self, client: Client) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: client, "127.0.0.1", self._port
            )
        except OSError:
            self.come_back(client)


def _text(number: int) -> str:
    return f'{{"n":{number}}}'


def _no_log(handler: object) -> None:
    pass


def run(title: str, soak: Soak) -> None:
    """Run one soak, and print its table."""
    progress(title)
    findings = asyncio.run(soak.run())
    for wrong in findings.wrong:
        progress(f"  {wrong}")
    table = Table(f"{title}; {findings.seconds:.0f} s", "")
    table.row(f"events, each to {findings.clients:,} clients", f"{findings.events:,}")
    table.row(
        "clients that got the last one",
        f"{findings.finished:,}",
        figure=findings.finished,
        bound=at_least(findings.clients, ""),
    )
    table.row(
        "streams cut by their clients",
        f"{findings.cuts:,}",
        figure=findings.cuts,
        bound=at_least(soak.cuts, ""),
    )
    table.row("streams cut for being slow", f"{findings.slow:,}")
    table.row("events received", f"{findings.received:,}")
    table.row("  of them in replays", f"{findings.replayed:,}")
    table.row("gaps reported", f"{findings.gaps:,}")
    table.row(
        "lost, doubled, out of order, a wrong gap",
        f"{len(findings.wrong):,}",
        figure=len(findings.wrong),
        bound=at_most(0, ""),
    )
    table.show()


def main(arguments: list[str]) -> int:
    """Run with a history that is large enough, and with one that is not; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks replay", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000, help="(default: 200000)")
    parser.add_argument("--clients", type=int, default=500, help="(default: 500)")
    parser.add_argument("--cuts", type=int, default=10_000, help="(default: 10000)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: 1)")
    chosen = parser.parse_args(arguments)
    few = FEW * burst(chosen.events, chosen.clients, chosen.cuts)
    for title, kept in (("all kept", chosen.events), (f"only {few:,} kept", few)):
        soak = Soak(
            events=chosen.events,
            clients=chosen.clients,
            cuts=chosen.cuts,
            kept=kept,
            seed=chosen.seed,
            report=lambda line: progress(f"  {line}"),
        )
        run(title, soak)
    return 0
