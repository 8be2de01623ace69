"""Crowds: clients that enter one category together, with presence and without, and streams that all
close at once.

Each round of each way has a server in a process of its own that has just started. An arrival is
over when no client has read anything for a while.
"""

from __future__ import annotations

import argparse
import gc
import time
from typing import NamedTuple

from .lateness import hundredth
from .load import Load
from .server import FULL, OURS, TEXTBOOK, Server
from .store import filled
from .table import Table, at_most, in_turns, middle, ratio

#: Seconds without a byte after which an arrival is over; more than presence ever waits.
QUIET = 2.0

#: Clients whose opening is one command to their process, which must answer within
#: :data:`~benchmarks.load.PATIENCE`: on a busy machine thousands take longer.
PIECE = 500

#: Seconds between two looks at the bytes, and after which a crowd that never rests is given up.
LOOKING = 0.1
PATIENCE = 600.0

MB = 1_000_000


class Arrived(NamedTuple):
    """One arrival: seconds of the server's CPU, seconds until all was read, bytes that were read,
    and seconds that the loop was late, 99 % of the times.
    """

    cpu: float
    seconds: float
    bytes: int
    late: float


class Left(NamedTuple):
    """One departure of all: seconds until a watcher has read of the first half, and of the last;
    seconds of the server's CPU.
    """

    half: float
    last: float
    cpu: float


def arrive(name: str, clients: int) -> Arrived:
    """Let clients enter one category of a server that has just started."""
    with Server(name) as server, Load() as load:
        server.lateness()
        before, began = server.cpu(), time.monotonic()
        for first in range(0, clients, PIECE):
            load.open(server.port, min(PIECE, clients - first), first=first)
        late = server.lateness()
        read, changed = load.bytes(), time.monotonic()
        while (now := time.monotonic()) < changed + QUIET:
            if now > began + PATIENCE:
                raise RuntimeError(f"the clients still read something after {PATIENCE:.0f} s")
            time.sleep(LOOKING)
            looked = server.lateness()
            if (more := load.bytes()) != read:
                read, changed = more, time.monotonic()
                # What the loop does while nothing is sent would make it look punctual.
                late += looked
        return Arrived(server.cpu() - before, changed - began, read, hundredth(late))


def leave(name: str, streams: int) -> Left:
    """Close all streams of a server that has just started, while a watcher reads."""
    with Server(name) as server, Load() as load, Load() as watcher:
        watcher.open(server.port, 1, path="/watch?n={n}")
        load.open(server.port, streams)
        server.status()
        watcher.expect(streams)
        used = server.cpu()
        began = load.leave(streams)
        arrivals = watcher.arrivals()
        cpu = server.cpu() - used
        return Left((arrivals.half - began) / 1e9, (arrivals.at - began) / 1e9, cpu)


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


def arrivals(clients: int, rounds: int) -> None:
    """Measure arrivals, and print the table."""
    results: dict[str, list[Arrived]] = {OURS: [], FULL: []}
    for name in in_turns(list(results), rounds, f"{clients:,} clients enter one category"):
        results[name].append(arrive(name, clients))
    cpu, seconds, read, late = (
        {name: [turn[place] for turn in turns] for name, turns in results.items()}
        for place in range(4)
    )
    table = Table(f"{clients:,} enter one category", "defaults", "everything on", "for each")
    used = middle(cpu[FULL])
    table.row(
        "the server's CPU, s",
        *(f"{middle(cpu[name]):.1f}" for name in results),
        f"{used / clients * 1e3:.2f} ms",
        figure=used,
        bound=at_most(5, "s"),
    )
    table.row(
        "until all have read it, s", *(f"{middle(seconds[name]):.1f}" for name in results), ""
    )
    sent = middle(read[FULL]) / MB
    table.row(
        "bytes that they have read, MB",
        *(f"{middle(read[name]) / MB:.1f}" for name in results),
        f"{sent / clients * 1e3:.1f} kB",
        figure=sent,
        bound=at_most(300, "MB"),
    )
    lag = middle(late[FULL]) * 1e3
    table.row(
        "lateness of the loop, p99, ms",
        *(f"{middle(late[name]) * 1e3:.1f}" for name in results),
        "",
        figure=lag,
        bound=at_most(20, "ms"),
    )
    table.show()


def departures(streams: int, rounds: int) -> None:
    """Measure streams that close together, and print the table."""
    results: dict[str, list[Left]] = {OURS: [], TEXTBOOK: []}
    for name in in_turns(list(results), rounds, f"{streams:,} streams close at once"):
        results[name].append(leave(name, streams))
    half, last, cpu = (
        {name: [turn[place] for turn in turns] for name, turns in results.items()}
        for place in range(3)
    )
    table = Table(f"{streams:,} close at once", "textbook", "ours", "to its last")
    rows = (("the first half", half, 0.5), ("the last", last, 0.8))
    for which, times, limit in rows:
        share = middle(times[OURS], last[TEXTBOOK])
        table.row(
            f"until a watcher has read of {which}, ms",
            *(f"{middle(times[name]) * 1e3:.0f}" for name in (TEXTBOOK, OURS)),
            ratio(share),
            figure=share,
            bound=at_most(limit),
        )
    table.row(
        "the server's CPU for that, ms",
        *(f"{middle(cpu[name]) * 1e3:.0f}" for name in (TEXTBOOK, OURS)),
        "",
    )
    purge = purging(streams, rounds) * 1e3
    table.row(
        "the store's share of that, ms",
        "",
        f"{purge:.1f}",
        "",
        figure=purge,
        bound=at_most(20, "ms"),
    )
    table.show()


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks crowd", description=__doc__)
    parser.add_argument(
        "--clients", type=int, default=5_000, help="how many enter (default: 5000; 0: none)"
    )
    parser.add_argument(
        "--leaving", type=int, default=10_000, help="how many close (default: 10000; 0: none)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median is shown (default: 5)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.clients:
        arrivals(chosen.clients, chosen.rounds)
    if chosen.leaving:
        departures(chosen.leaving, chosen.rounds)
    return 0
