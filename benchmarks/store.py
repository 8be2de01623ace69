"""What a store costs as it fills: purging one connection, and finding ten by a pattern.

Both must cost the same with 100 and with 100,000 connections stored. Many calls of each are timed
in rounds, and the sizes take turns within a round, so that a machine that slows down slows all of
them. The median of the rounds is shown.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from statistics import median

from sfere_tornado.keys import ANY
from sfere_tornado.stores import ExpiringStore, MemoryStore, Store

SIZES = (100, 1_000, 10_000, 100_000)

KINDS = {"memory": MemoryStore, "expiring": ExpiringStore}

#: Connections that the pattern matches.
MATCHES = 10

#: Calls timed together; a single one is too short for the clock.
CALLS = 100


class Connection:
    """A stand-in: a store uses nothing but the identity of a connection."""

    __slots__ = ("__weakref__",)


def filled(kind: str, size: int) -> tuple[Store[Connection], list[Connection]]:
    """Return a store with connections, ten in each category, and the connections."""
    made: Store[Connection] = KINDS[kind](maxsize=size)
    connections = [Connection() for _ in range(size)]
    for number, connection in enumerate(connections):
        made.put(key_of(number), connection)
    return made, connections


def key_of(number: int) -> tuple[str, tuple[str, str]]:
    """Return the key of a connection."""
    return ("default", (f"room {number // MATCHES}", f"user {number}"))


def time_purge(made: Store[Connection], connections: list[Connection]) -> float:
    """Return the seconds that one purge takes; those purged are stored again afterwards."""
    chosen = range(0, len(connections), len(connections) // CALLS)
    begin = time.perf_counter()
    for number in chosen:
        made.purge_connection(connections[number])
    taken = time.perf_counter() - begin
    for number in chosen:
        made.put(key_of(number), connections[number])
    return taken / len(chosen)


def time_find(made: Store[Connection], connections: list[Connection]) -> float:
    """Return the seconds that finding ten connections takes."""
    rooms = len(connections) // MATCHES
    patterns = [(ANY, (f"room {number * rooms // CALLS}", ANY)) for number in range(CALLS)]
    begin = time.perf_counter()
    for pattern in patterns:
        found = made.connections(pattern)
    taken = time.perf_counter() - begin
    if len(found) != MATCHES:
        raise RuntimeError(
            f"{len(found)} connections were found, not {MATCHES}: the measurement means nothing"
        )
    return taken / CALLS


def main(arguments: list[str]) -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks store", description=__doc__)
    parser.add_argument(
        "--kind",
        choices=tuple(KINDS),
        default="expiring",
        help="the store (default: expiring)",
    )
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds, of which the median is shown (default: 15)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.rounds < 1:
        parser.error("--rounds is 1 or more")
    stores = {}
    for size in SIZES:
        print(f"storing {size:,} connections ...", file=sys.stderr, flush=True)
        stores[size] = filled(chosen.kind, size)
    rows = {"purge one connection": time_purge, f"find {MATCHES} by pattern": time_find}
    times = {(row, size): [] for row in rows for size in SIZES}
    # A full collection in the middle of a round would be counted as that round's work.
    gc.collect()
    gc.disable()
    for number in range(chosen.rounds):
        print(f"round {number + 1} of {chosen.rounds} ...", file=sys.stderr, flush=True)
        for row, measure in rows.items():
            for size in SIZES:
                times[row, size].append(measure(*stores[size]))
    gc.enable()
    show(chosen.kind, list(rows), {place: median(taken) for place, taken in times.items()})
    return 0


def show(kind: str, rows: list[str], medians: dict[tuple[str, int], float]) -> None:
    """Print microseconds, and their ratio to the smallest size."""
    print(f"{kind + ' store, stored:':24}" + "".join(f"{size:>20,}" for size in SIZES))
    for row in rows:
        cells = [
            f"{medians[row, size] * 1e6:.2f} us  x {ratio:.2f}"
            for size in SIZES
            for ratio in [medians[row, size] / medians[row, SIZES[0]]]
        ]
        print(f"{row:24}" + "".join(f"{cell:>20}" for cell in cells))
