"""What it costs to send a last event to many streams and to close them, all in one turn of the event
loop: for each stream, by their number. It must not grow with the number.

The hub is in this process, the clients are in another. The first figure is the CPU of the calls
themselves, which block the loop. The second is the CPU until every client has read its event and no
stream is left. *Bare* is ``socket.send`` and ``socket.shutdown`` of the same sockets.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from sfere_tornado import Event

from .clients import text
from .fanout import framed
from .serving import serving
from .table import Table, at_most, in_turns, middle, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from .serving import Serving

#: Seconds after which a stream that has not ended is a failure.
PATIENCE = 60.0

#: Microseconds for each stream that are required, and how many times as much with the most streams
#: as with the fewest.
LIMIT = 20
LINEAR = 1.25

OURS, BARE = "ours", "bare"


class Measured(NamedTuple):
    """One round: seconds of CPU of the calls, and until all have ended, for each stream."""

    calls: float
    total: float


def bare(at: Serving) -> Callable[[], None]:
    """Return the sends and shutdowns of all sockets."""
    sockets = [stream.socket for stream in at.tornado_streams()]

    def end() -> None:
        for sock in sockets:
            sock.send(framed())
            sock.shutdown(socket.SHUT_RDWR)

    return end


def ours(at: Serving) -> Callable[[], None]:
    """Return the sends and closes of all connections."""
    connections = list(at.hub.streams)

    def end() -> None:
        for connection in connections:
            connection.send(Event(text()))
            connection.close()

    return end


async def measure(streams: int, way: Callable[[Serving], Callable[[], None]]) -> Measured:
    """Open streams, send each its last event, and end all of them."""
    async with serving(streams) as at:
        end = way(at)
        at.load.expect(streams)
        gc.collect()
        begin = time.process_time()
        end()
        calls = time.process_time() - begin
        # Every client has read its last event.
        await at.load.arrived()
        deadline = time.monotonic() + PATIENCE
        while len(at.hub.streams):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(at.hub.streams):,} of {streams:,} streams have not ended")
            await asyncio.sleep(0.001)
        total = time.process_time() - begin
    return Measured(calls / streams, total / streams)


def run(numbers: list[int], rounds: int) -> None:
    """Measure, and print the tables."""
    ways = {BARE: bare, OURS: ours}
    turns = {f"{way} {number}": (number, ways[way]) for number in numbers for way in ways}
    results: dict[str, list[Measured]] = {name: [] for name in turns}
    for name in in_turns(list(turns), rounds, "send and close in one turn"):
        results[name].append(asyncio.run(measure(*turns[name])))
    for title, which in (("the calls", "calls"), ("until all have ended", "total")):
        figures = {
            name: [getattr(turn, which) for turn in measured] for name, measured in results.items()
        }
        show(f"send and close in one turn, {title}", figures, numbers, required=which == "calls")


def show(
    title: str, figures: dict[str, list[float]], numbers: list[int], *, required: bool
) -> None:
    """Print a table of the seconds for each stream."""
    table = Table(title, "bare, us CPU", "ours", "to bare", f"to {numbers[0]:,}")
    few, many = (figures[f"{OURS} {number}"] for number in (numbers[0], numbers[-1]))
    for number in numbers:
        taken, limit = figures[f"{OURS} {number}"], figures[f"{BARE} {number}"]
        table.row(
            f"{number:,} streams",
            f"{middle(limit) * 1e6:.1f}",
            f"{middle(taken) * 1e6:.1f}",
            ratio(middle(taken, limit)),
            ratio(middle(taken, few)),
            figure=middle(taken) * 1e6,
            bound=at_most(LIMIT, "us") if required else None,
        )
    share = middle(many, few)
    table.row(
        "the most to the fewest", "", "", "", ratio(share), figure=share, bound=at_most(LINEAR)
    )
    table.show()


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
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
    run(chosen.streams, chosen.rounds)
    return 0
