"""What streams cost besides events: memory, opening, closing all together, coming and going.

The library and the textbook handler are measured in turns, each time in a process of their own that
has just started.
"""

from __future__ import annotations

import argparse
import gc
import time
from typing import NamedTuple

from .load import Load
from .server import Server
from .store import filled
from .table import Table, at_most, in_turns, middle, progress, ratio

OURS = "sfere_tornado"
TEXTBOOK = "textbook Tornado"

#: The share of the streams that is opened before anything is measured, so that what is allocated
#: once exists.
FIRST = 20

#: Streams that come and go before memory is measured, so that it is at its level.
WARMING = 10_000

#: Seconds after which a server is asked for its status.
RESTING = 0.5

#: Seconds to wait until clients that left without reading their answer are noticed.
PATIENCE = 10.0

KIB = 1024


class Measured(NamedTuple):
    """One round: bytes for each stream, streams opened per second; seconds until all departures
    were announced, and of CPU.
    """

    memory: float
    opened: float
    closed: float
    closing: float


def measure(name: str, streams: int) -> Measured:
    """Open streams of a server that has just started, measure its memory, and close all of them
    together.
    """
    with Server(name) as server, Load() as load, Load() as watcher:
        watcher.open(server.port, 1, path="/watch?n={n}")
        first = max(1, streams // FIRST)
        load.open(server.port, first)
        server.status()
        before = server.memory()
        seconds = load.open(server.port, streams - first, first=first)
        time.sleep(RESTING)
        server.status()
        memory = (server.memory() - before) / (streams - first)
        watcher.expect(streams)
        used = server.cpu()
        began = load.leave(streams)
        closed = (watcher.arrivals().at - began) / 1e9
        return Measured(memory, (streams - first) / seconds, closed, server.cpu() - used)


def purging(streams: int, rounds: int) -> float:
    """Return the seconds that the store takes to purge this number of connections, one by one."""
    taken = []
    for _ in range(rounds):
        made, connections = filled("expiring", streams)
        # A full collection would be counted as the store's work.
        gc.collect()
        gc.disable()
        begin = time.perf_counter()
        for connection in connections:
            made.purge_connection(connection)
        taken.append(time.perf_counter() - begin)
        gc.enable()
    return middle(taken)


def at_rest(streams: int, rounds: int) -> None:
    """Measure memory, opening and closing, and print the table."""
    found: dict[str, list[Measured]] = {OURS: [], TEXTBOOK: []}
    for name in in_turns(list(found), rounds, f"{streams:,} streams opened and closed"):
        found[name].append(measure(name, streams))
    table = Table(f"{streams:,} streams", "textbook", "ours", "ratio")
    memory, opened, closed, closing = (
        {name: [one[place] for one in measured] for name, measured in found.items()}
        for place in range(4)
    )
    more = middle(
        ours - theirs for ours, theirs in zip(memory[OURS], memory[TEXTBOOK], strict=True)
    )
    table.row(
        "memory of an idle stream, KiB",
        *(f"{middle(memory[name]) / KIB:.1f}" for name in (TEXTBOOK, OURS)),
        f"+ {more / KIB:.2f} KiB",
        figure=more / KIB,
        bound=at_most(1.5, "KiB"),
    )
    table.row(
        "opened in a second",
        *(f"{middle(opened[name]):,.0f}" for name in (TEXTBOOK, OURS)),
        ratio(middle(opened[OURS], opened[TEXTBOOK])),
    )
    share = middle(closed[OURS], closed[TEXTBOOK])
    table.row(
        "all closing at once, until a watcher has read it of each, ms",
        *(f"{middle(closed[name]) * 1e3:.0f}" for name in (TEXTBOOK, OURS)),
        ratio(share),
        figure=share,
        bound=at_most(1.3),
    )
    table.row(
        "the server's CPU for that, ms",
        *(f"{middle(closing[name]) * 1e3:.0f}" for name in (TEXTBOOK, OURS)),
        ratio(middle(closing[OURS], closing[TEXTBOOK])),
    )
    purge = purging(streams, rounds) * 1e3
    table.row(
        "the store's part of that, ms",
        "",
        f"{purge:.1f}",
        "",
        figure=purge,
        bound=at_most(20, "ms"),
    )
    table.show()


def coming_and_going(count: int) -> None:
    """Open and close streams in mixed ways, and print what has stayed in the server."""
    with Server(OURS) as server, Load() as load:
        progress(f"coming and going: the first {min(WARMING, count):,}")
        load.churn(server.port, min(WARMING, count))
        before = at_start(server)
        progress(f"coming and going: {count:,} in mixed ways")
        seconds = load.churn(server.port, count)
        after = at_start(server)
    table = Table(
        f"{count:,} opened and closed in six ways, {count / seconds:,.0f}/s",
        "before",
        "after",
        "more",
    )
    for what in ("streams", "stored", "tasks", "files"):
        more = after[what] - before[what]
        table.row(
            what, str(before[what]), str(after[what]), str(more), figure=more, bound=at_most(0, "")
        )
    grown = (after["memory"] - before["memory"]) / count
    sizes = [f"{status['memory'] / KIB:,.0f} KiB" for status in (before, after)]
    # A record of any kind that stayed would be at least 50 bytes, a stream 14,000.
    table.row("memory", *sizes, f"{grown:.0f} B each", figure=grown, bound=at_most(20, "B"))
    table.show()


def at_start(server: Server) -> dict[str, int]:
    """Return what a server has when all clients have left it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        time.sleep(RESTING)
        status = server.status()
        if status["streams"] == 0 or time.monotonic() > deadline:
            return status


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks streams", description=__doc__)
    parser.add_argument(
        "--streams", type=int, default=10_000, help="streams at a time (default: 10000)"
    )
    parser.add_argument(
        "--churn", type=int, default=50_000, help="streams that come and go (default: 50000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median is shown (default: 5)"
    )
    chosen = parser.parse_args(arguments)
    at_rest(chosen.streams, chosen.rounds)
    coming_and_going(chosen.churn)
    return 0
