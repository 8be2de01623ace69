"""What it costs to send a last event to many streams and to close them, all in one turn of the event
loop: for each stream, by their number. It must not grow with the number.

The hub is in this process, the clients are in another. The first figure is the CPU of the calls
themselves, which block the loop. The second is the CPU until all streams have ended.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from typing import NamedTuple

from sfere_tornado import Event

from .clients import text
from .serving import serving
from .table import Table, at_most, in_turns, middle, ratio

#: Seconds after which a stream that has not ended is a failure.
PATIENCE = 60.0

#: Microseconds for each stream that are required, and how many times as much with the most streams
#: as with the fewest.
LIMIT = 20
LINEAR = 1.25


class Measured(NamedTuple):
    """One round: seconds of CPU of the calls, and until all have ended, for each stream."""

    calls: float
    total: float


async def measure(streams: int) -> Measured:
    """Open streams, send each its last event, and close all of them."""
    async with serving(streams) as at:
        connections = list(at.hub.streams)
        at.load.expect(streams)
        gc.collect()
        begin = time.process_time()
        for connection in connections:
            connection.send(Event(text()))
            connection.close()
        calls = time.process_time() - begin
        deadline = time.monotonic() + PATIENCE
        while len(at.hub.streams):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(at.hub.streams):,} of {streams:,} streams have not ended")
            await asyncio.sleep(0.001)
        total = time.process_time() - begin
        # Every client has read its last event.
        await at.load.arrived()
    return Measured(calls / streams, total / streams)


def main(arguments: list[str]) -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks ending", description=__doc__)
    parser.add_argument(
        "--streams",
        type=int,
        nargs="+",
        default=[1_000, 2_000, 4_000, 8_000],
        help="how many end in one turn (default: 1000 2000 4000 8000)",
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median is shown (default: 5)"
    )
    chosen = parser.parse_args(arguments)
    results: dict[str, list[Measured]] = {str(streams): [] for streams in chosen.streams}
    for streams in in_turns(list(results), chosen.rounds, "send and close in one turn"):
        results[streams].append(asyncio.run(measure(int(streams))))
    few = results[str(chosen.streams[0])]
    figures = (("the calls", "calls"), ("until all have ended", "total"))
    for title, which in figures:
        table = Table(
            f"send and close in one turn, {title}", "us CPU each", f"to {chosen.streams[0]:,}"
        )
        for streams, measured in results.items():
            taken = [getattr(turn, which) for turn in measured]
            table.row(
                f"{int(streams):,} streams",
                f"{middle(taken) * 1e6:.1f}",
                ratio(middle(taken, [getattr(turn, which) for turn in few])),
                figure=middle(taken) * 1e6 if which == "calls" else None,
                bound=at_most(LIMIT, "us") if which == "calls" else None,
            )
        share = middle(
            [getattr(turn, which) for turn in results[str(chosen.streams[-1])]],
            [getattr(turn, which) for turn in few],
        )
        table.row("the most to the fewest", "", ratio(share), figure=share, bound=at_most(LINEAR))
        table.show()
    return 0
