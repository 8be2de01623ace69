"""What shared compression saves, and what it costs: JSON to streams that are compressed, against the same to plain ones.

Both kinds of stream are open on one hub in this process, take turns, and get the same events, each another one. The clients
are other processes, which read and do not look. Bytes are those that the clients' kernels have acknowledged, with the
framing; the figure of cost is the CPU that this process uses until everything has been written, by event and stream.
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

from sfere_tornado import ANY, Hub, HubConfig, SSEHandler, StoreConfig, StreamConfig, broadcast, send

from .clients import ACKNOWLEDGED_AT_ONCE, HOST, allow_many_files
from .fanout import microseconds
from .load import Load
from .serving import STOPPING
from .table import Table, at_most, in_turns, middle, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Bytes of JSON in an event, about: a price, and a small order.
SIZES: Final = (120, 250, 500)

#: Events in a round, each in a turn of its own; one alone is too short for the clock.
EVENTS: Final = 40

#: Seconds in which what was written is read and acknowledged.
RESTING: Final = 0.3

PLAIN: Final = "plain"
PACKED: Final = "packed"


class Events(SSEHandler):
    def connection_key(self):
        return (self.get_query_argument("kind"), self.get_query_argument("n"))


def orders(size: int) -> Iterator[dict[str, Any]]:
    """Yield events without end, of about so many bytes of JSON, each another one."""
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
            event[f"level{step}"] = {"bid": round(chance.uniform(10, 500), 2), "ask": chance.randrange(1_000)}
        yield event


def acknowledged(hub: Hub, kind: str) -> int:
    """Return the bytes that the clients of one kind have acknowledged."""
    found = hub.store.connections((ANY, (kind, ANY)))
    for connection in found:
        connection.read_acknowledged()
    return sum(connection.acknowledged for connection in found)


async def deliver(hub: Hub, kind: str, events: list[dict[str, Any]]) -> tuple[float, int]:
    """Dispatch events to one kind of stream, each in a turn of its own; returns seconds of CPU, and bytes."""
    before = acknowledged(hub, kind)
    used = time.process_time()
    for event in events:
        hub.dispatch(broadcast((ANY, (kind, ANY)), send(event)))
        while hub.writer.pending:  # noqa: ASYNC110  # an event would cost what is not to be measured
            await asyncio.sleep(0)
    used = time.process_time() - used
    await asyncio.sleep(RESTING)
    return used, acknowledged(hub, kind) - before


async def measure(streams: int, rounds: int) -> None:
    """Measure each size of event, and print the table."""
    allow_many_files()
    hub = Hub(HubConfig(store=StoreConfig(maxsize=20_000), stream=StreamConfig(compress=frozenset({PACKED}))))
    port = hub.listen(Application([("/events", Events)]), 0, HOST)
    table = Table(f"compression, {streams:,} streams", "bytes/event", "us CPU/event", "bytes", "CPU")
    with Load() as plain, Load() as packed:
        for load, kind in ((plain, PLAIN), (packed, PACKED)):
            await load.opened(port, streams, path=f"/events?kind={kind}&n={{n}}", headers="Accept-Encoding: gzip\r\n")
            load.swallow()
        for size in SIZES:
            source = orders(size)
            for kind in (PLAIN, PACKED):
                await deliver(hub, kind, [next(source) for _ in range(ACKNOWLEDGED_AT_ONCE + 1)])
            gc.collect()
            cpu: dict[str, list[float]] = {PLAIN: [], PACKED: []}
            sizes: dict[str, list[float]] = {PLAIN: [], PACKED: []}
            for kind in in_turns([PLAIN, PACKED], rounds, f"compression of {size} bytes"):
                used, sent = await deliver(hub, kind, [next(source) for _ in range(EVENTS)])
                cpu[kind].append(used / EVENTS / streams)
                sizes[kind].append(sent / EVENTS / streams)
            less, more = middle(sizes[PACKED], sizes[PLAIN]), middle(cpu[PACKED], cpu[PLAIN])
            table.row(f"{size} B, plain", f"{middle(sizes[PLAIN]):.0f}", microseconds(cpu[PLAIN]), ratio(1), ratio(1))
            shown = (f"{middle(sizes[PACKED]):.0f}", microseconds(cpu[PACKED]), ratio(less), ratio(more))
            table.row(f"{size} B, compressed: bytes", *shown, figure=less, bound=at_most(0.3))
            table.row(f"{size} B, compressed: CPU", *shown, figure=more, bound=at_most(1.1))
        await hub.drain(window=0, timeout=STOPPING)
    table.show()


def main(arguments: list[str]) -> int:
    """Measure and print the table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compression", description=__doc__)
    parser.add_argument("--streams", type=int, default=1_000, help="streams of each kind (default: 1000)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds, of which the median is shown (default: 9)")
    chosen = parser.parse_args(arguments)
    asyncio.run(measure(chosen.streams, chosen.rounds))
    return 0
