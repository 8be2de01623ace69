"""What an open stream costs while nothing is sent: the memory that it keeps, and its opening.

The textbook handler, this library with its defaults, and with everything on (an expiring store,
history, presence and two interceptors) are measured in turns, each time in a process of their own
that has just started. With presence, ten streams at a time see each other.
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

from .load import Load
from .server import FULL, OURS, TEXTBOOK, Server
from .table import Table, at_most, in_turns, middle, ratio

#: The path of the streams of each way.
PATHS = {TEXTBOOK: "/events?n={n}", OURS: "/rooms?n={n}", FULL: "/rooms?n={n}"}

#: The CPU of an opening that is required, in times the textbook handler's.
OPENING = {OURS: 1.0, FULL: 1.25}

#: KiB of an idle stream that are required.
MEMORY = {FULL: 6.0}

#: The share of the streams that is opened before anything is measured, so that what is allocated
#: once exists.
FIRST = 20

#: Seconds after which a server is asked for its status.
RESTING = 0.5

KIB = 1024


class Measured(NamedTuple):
    """One round: bytes for each stream, seconds of CPU to open it, and streams opened per second."""

    memory: float
    cpu: float
    opened: float


def measure(name: str, streams: int) -> Measured:
    """Open streams of a server that has just started, and measure its CPU and its memory."""
    with Server(name) as server, Load() as load:
        # Whole rooms, so that none is opened in two parts.
        first = max(1, streams // FIRST // 10) * 10
        load.open(server.port, first, path=PATHS[name])
        server.status()
        memory, used = server.memory(), server.cpu()
        seconds = load.open(server.port, streams - first, path=PATHS[name], first=first)
        cpu = server.cpu() - used
        time.sleep(RESTING)
        status = server.status()
        if status["streams"] != streams:
            raise RuntimeError(f"{name} has {status['streams']:,} streams, not {streams:,}")
        more = streams - first
        return Measured((server.memory() - memory) / more, cpu / more, more / seconds)


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle", description=__doc__)
    parser.add_argument(
        "--streams", type=int, default=10_000, help="streams at a time (default: 10000)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median is shown (default: 5)"
    )
    chosen = parser.parse_args(arguments)
    results: dict[str, list[Measured]] = {name: [] for name in PATHS}
    for name in in_turns(list(results), chosen.rounds, f"{chosen.streams:,} streams opened"):
        results[name].append(measure(name, chosen.streams))
    memory = Table(f"{chosen.streams:,} idle streams", "KiB each", "to textbook")
    opening = Table(f"{chosen.streams:,} opened", "us CPU each", "in a second", "CPU to textbook")
    for name, measured in results.items():
        kept = [turn.memory / KIB for turn in measured]
        memory.row(
            name,
            f"{middle(kept):.1f}",
            ratio(middle(kept, [turn.memory / KIB for turn in results[TEXTBOOK]])),
            figure=middle(kept),
            bound=at_most(MEMORY[name], "KiB") if name in MEMORY else None,
        )
        share = middle([turn.cpu for turn in measured], [turn.cpu for turn in results[TEXTBOOK]])
        opening.row(
            name,
            f"{middle(turn.cpu for turn in measured) * 1e6:.0f}",
            f"{middle(turn.opened for turn in measured):,.0f}",
            ratio(share),
            figure=share,
            bound=at_most(OPENING[name]) if name in OPENING else None,
        )
    memory.show()
    opening.show()
    return 0
