"""What shared compression saves, and what it costs: JSON to compressed streams, against the same to
plain ones.

Streams of both kinds are open on one hub in this process, take turns, and get the same events, each
event different from the last. The clients are other processes, which read and discard. Bytes are
those that the clients' kernels have acknowledged, with the framing. The cost is the CPU that this
process uses until everything has been written, per event and stream.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import time
from typing import TYPE_CHECKING, Any, Final

from tornado.web import Application

from sfere_tornado import (
    ANY,
    Hub,
    HubConfig,
    SSEHandler,
    StoreConfig,
    StreamConfig,
    broadcast,
    send,
)

from .clients import ACKNOWLEDGED_AT_ONCE, HOST, allow_many_files
from .fanout import microseconds
from .load import Load
from .serving import STOPPING
from .table import Table, at_most, in_turns, middle, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Events in a round, each in a turn of its own; a single one is too short for the clock.
EVENTS: Final = 40

#: Seconds in which what was written is read and acknowledged.
RESTING: Final = 0.3

NAMES: Final = ("ada", "brian", "grace", "linus", "phil", "margaret", "tim", "radia")

#: Words that are common in chats.
WORDS: Final = (
    "the of and to in is you that it he was for on are as with his they at be this have from or "
    "one had by word but not what all were we when your can said there use an each which she do "
    "how their if will up other about out many then them these so some her would make like him "
    "into time has look two more write go see number no way could people my than first water "
    "been call who oil its now find long down day did get come made may part"
)

PLAIN: Final = "plain"
PACKED: Final = "packed"


class Events(SSEHandler):
    def connection_key(self):
        return (self.get_query_argument("kind"), self.get_query_argument("n"))


def prices(size: int) -> Iterator[dict[str, Any]]:
    """Yield orders without end, about ``size`` bytes of JSON, in which every number is random."""
    chance = random.Random(size)
    number = 100_000
    while True:
        number += chance.randrange(1, 9)
        event: dict[str, Any] = {
            "order": number,
            "symbol": chance.choice(["ACME", "GLOBEX", "INITECH", "UMBRELLA", "STARK", "WAYNE"]),
            "price": round(chance.uniform(10, 500), 2),
            "change": round(chance.uniform(-5, 5), 3),
            "volume": chance.randrange(100, 100_000),
        }
        step = 0
        while len(json.dumps(event, separators=(",", ":"))) < size:
            step += 1
            event[f"level{step}"] = {
                "bid": round(chance.uniform(10, 500), 2),
                "ask": chance.randrange(1_000),
            }
        yield event


def progress_of_jobs() -> Iterator[dict[str, Any]]:
    """Yield the progress of jobs, without end."""
    chance = random.Random(1)
    done = 0
    while True:
        done = (done + chance.randrange(50, 500)) % 90_000
        yield {
            "job": f"import-{chance.randrange(10)}",
            "state": "running",
            "step": "reading the rows of the file",
            "done": done,
            "of": 90_000,
            "rate": round(chance.uniform(100, 400), 1),
            "seconds_left": chance.randrange(10, 400),
        }


def notices() -> Iterator[dict[str, Any]]:
    """Yield arrivals and departures, without end."""
    chance = random.Random(1)
    while True:
        yield {
            "kind": chance.choice(["joined", "left", "away", "back"]),
            "member": f"{chance.choice(NAMES)}-{chance.randrange(100)}",
            "room": "lobby",
            "here": chance.randrange(20, 60),
            "at": f"2026-11-24T18:{chance.randrange(60):02}:{chance.randrange(60):02}Z",
        }


def chat() -> Iterator[dict[str, Any]]:
    """Yield chat messages, without end: random common words, which repeat less than real messages
    do.
    """
    chance = random.Random(1)
    words = WORDS.split()
    number = 0
    while True:
        number += chance.randrange(1, 9)
        text = " ".join(chance.choices(words, k=10))
        yield {
            "id": number,
            "from": chance.choice(NAMES),
            "room": "lobby",
            "at": 1_764_000_000 + number,
            "text": text,
        }


#: Kinds of events and their sizes. How much is saved depends on how much of an event was in earlier
#: ones.
KINDS: Final[dict[str, Callable[[], Iterator[dict[str, Any]]]]] = {
    "notice, 100 B": notices,
    "progress, 130 B": progress_of_jobs,
    "chat, 110 B": chat,
    "prices, 120 B": lambda: prices(120),
    "prices, 250 B": lambda: prices(250),
    "prices, 500 B": lambda: prices(500),
}


def acknowledged(hub: Hub, kind: str) -> int:
    """Return the bytes that the clients of one kind have acknowledged."""
    found = hub.store.connections((ANY, (kind, ANY)))
    return sum(connection.acknowledged() or 0 for connection in found)


async def deliver(hub: Hub, kind: str, events: list[dict[str, Any]]) -> tuple[float, int]:
    """Dispatch events to one kind of stream, each in a turn of its own; return seconds of CPU, and
    bytes.
    """
    before = acknowledged(hub, kind)
    used = time.process_time()
    for event in events:
        hub.dispatch(broadcast((ANY, (kind, ANY)), send(event)))
        while hub.streams.writer.pending:  # noqa: ASYNC110  # an event would add to the cost
            await asyncio.sleep(0)
    used = time.process_time() - used
    await asyncio.sleep(RESTING)
    return used, acknowledged(hub, kind) - before


async def measure(streams: int, rounds: int) -> None:
    """Measure each kind of event, and print the table."""
    allow_many_files()
    hub = Hub(
        HubConfig(
            store=StoreConfig(maxsize=20_000), stream=StreamConfig(compress=frozenset({PACKED}))
        )
    )
    port = hub.listen(Application([("/events", Events)]), 0, HOST)
    table = Table(
        f"compression, {streams:,} streams", "bytes/event", "us CPU/event", "bytes", "CPU"
    )
    with Load() as plain, Load() as packed:
        for load, kind in ((plain, PLAIN), (packed, PACKED)):
            await load.opened(
                port,
                streams,
                path=f"/events?kind={kind}&n={{n}}",
                headers="Accept-Encoding: gzip\r\n",
            )
            load.swallow()
        for name, events in KINDS.items():
            source = events()
            for kind in (PLAIN, PACKED):
                await deliver(hub, kind, [next(source) for _ in range(ACKNOWLEDGED_AT_ONCE + 1)])
            gc.collect()
            cpu: dict[str, list[float]] = {PLAIN: [], PACKED: []}
            sizes: dict[str, list[float]] = {PLAIN: [], PACKED: []}
            for kind in in_turns([PLAIN, PACKED], rounds, f"compression of {name}"):
                used, sent = await deliver(hub, kind, [next(source) for _ in range(EVENTS)])
                cpu[kind].append(used / EVENTS / streams)
                sizes[kind].append(sent / EVENTS / streams)
            less, more = middle(sizes[PACKED], sizes[PLAIN]), middle(cpu[PACKED], cpu[PLAIN])
            table.row(
                f"{name}: plain",
                f"{middle(sizes[PLAIN]):.0f}",
                microseconds(cpu[PLAIN]),
                ratio(1),
                ratio(1),
            )
            shown = (
                f"{middle(sizes[PACKED]):.0f}",
                microseconds(cpu[PACKED]),
                ratio(less),
                ratio(more),
            )
            table.row(f"{name}: compressed, bytes", *shown, figure=less, bound=at_most(0.3))
            table.row(f"{name}: compressed, CPU", *shown, figure=more, bound=at_most(1.1))
        await hub.drain(window=0, timeout=STOPPING)
    table.show()


def main(arguments: list[str]) -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compression", description=__doc__)
    parser.add_argument(
        "--streams", type=int, default=1_000, help="streams of each kind (default: 1000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=9, help="rounds, of which the median is shown (default: 9)"
    )
    chosen = parser.parse_args(arguments)
    asyncio.run(measure(chosen.streams, chosen.rounds))
    return 0
