"""Streams that come and go in mixed ways, and what stays of them in the server."""

from __future__ import annotations

import argparse
import time

from .load import Load
from .server import OURS, Server
from .table import Table, at_most, progress

#: Streams that come and go before memory is measured, so that it is at its level.
WARMING = 10_000

#: Seconds after which a server is asked for its status.
RESTING = 0.5

#: Seconds to wait until clients that left without reading their answer are noticed.
PATIENCE = 10.0

KIB = 1024


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
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks streams", description=__doc__)
    parser.add_argument(
        "--churn", type=int, default=50_000, help="streams that come and go (default: 50000)"
    )
    coming_and_going(parser.parse_args(arguments).churn)
    return 0
