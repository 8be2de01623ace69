"""Streams that are fed one by one: each has a task of its own, which sends small events to it alone,
as a model's tokens or the lines of a log come.

All ways run as servers in processes of their own, at the same time, and take turns. The figures are
the CPU that the server's process uses for each event that arrives, how long the events are on their
way, and how many events a second of one core's CPU sends when the tasks want to send more than that.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import NamedTuple

from sfere_tornado import SSEHandler

from .load import Load
from .server import FULL, NODE, OURS, TASKS, TEXTBOOK, Server, missing
from .table import Bound, Table, at_least, at_most, in_turns, middle, progress, ratio

#: The ways: the name of the server, the path of the streams, and the CPU that is required, in times
#: the bare loop's; 0 where nothing is.
WAYS = {
    "bare socket.send": (TASKS, "/tokens", 0.0),
    "connection.send": (OURS, "/tokens/send", 1.12),
    "hub.dispatch(send)": (OURS, "/tokens/dispatch", 1.35),
    "with_connection(key, send)": (OURS, "/tokens/key", 0.0),
    "the same, everything on": (FULL, "/tokens/key", 1.6),
    "generator as on_open": (OURS, "/tokens/generator", 1.35),
    "textbook Tornado": (TEXTBOOK, "/tokens", 0.0),
    "aiohttp-sse": ("aiohttp-sse", "/tokens", 0.0),
    "sse-starlette, httptools": ("sse-starlette, httptools", "/tokens", 0.0),
    "better-sse": (NODE, "/tokens", 0.0),
}

BARE = "bare socket.send"
GENERATOR = "generator as on_open"

#: The other ways in Python, which this library must not be behind.
PEERS = ("textbook Tornado", "aiohttp-sse", "sse-starlette, httptools")

#: Seconds after a change of the pace until anything is measured. The first sixteen events of each
#: stream must have passed, see :data:`~benchmarks.clients.ACKNOWLEDGED_AT_ONCE`.
SETTLING = 0.6

#: Times the rate with which each task wants to send when the ceiling is measured.
FLOOD = 10

#: Seconds in which a server that was flooded writes what is left.
EBBING = 0.5


class Measured(NamedTuple):
    """One turn of one way: seconds of CPU per event, seconds on the way (median, 99 %), and events
    per second of CPU when there are too many.
    """

    cpu: float
    p50: float
    p99: float
    ceiling: float


def measure(server: Server, load: Load, rate: int, seconds: float) -> Measured:
    """Measure one way at a rate, and then flooded."""
    load.follow()
    server.feed(rate)
    time.sleep(SETTLING)
    calm = window(server, load, seconds)
    server.feed(rate * FLOOD)
    time.sleep(SETTLING)
    flooded = window(server, load, seconds / 2)
    server.feed(0)
    time.sleep(EBBING)
    load.follow(on=False)
    return Measured(calm[0], calm[1], calm[2], 1 / flooded[0])


def window(server: Server, load: Load, seconds: float) -> tuple[float, float, float]:
    """Return the seconds of CPU per event, and those on the way (median, 99 %), of a while."""
    load.count()
    before = server.cpu()
    time.sleep(seconds)
    used = server.cpu() - before
    arrivals = load.count()
    if arrivals is None:
        raise RuntimeError(f"{server.name} has sent nothing for {seconds:g} s")
    return used / arrivals.events, arrivals.p50, arrivals.p99


def absent(way: str) -> str:
    """Return why a way cannot be measured; an empty text if it can."""
    if way == GENERATOR and "Async" not in str(SSEHandler.on_open.__annotations__["return"]):
        return "on_open is not an asynchronous generator in this version"
    server = WAYS[way][0]
    return "" if server in (OURS, FULL, TASKS) else missing(server)


def start(
    ways: list[str], streams: int, stack: ExitStack
) -> tuple[dict[str, tuple[Server, Load]], dict[str, str]]:
    """Start servers and open their streams; return them, and why others are left out."""
    running, left_out = {}, {}
    for way in ways:
        name, path, _ = WAYS[way]
        if why := absent(way):
            left_out[way] = why
            continue
        progress(f"{way}: opening {streams:,} streams")
        try:
            server = stack.enter_context(Server(name))
        except RuntimeError as error:
            left_out[way] = str(error)
            continue
        load = stack.enter_context(Load())
        load.open(server.port, streams, path=f"{path}?n={{n}}")
        running[way] = (server, load)
    return running, left_out


def run(ways: list[str], streams: int, rate: int, seconds: float, rounds: int) -> None:
    """Measure, and print the tables."""
    with ExitStack() as stack:
        running, left_out = start(ways, streams, stack)
        results = {way: [] for way in running}
        what = f"{streams:,} streams, {rate} events a second each"
        for way in in_turns(list(running), rounds, what):
            results[way].append(measure(*running[way], rate, seconds))
    show_cpu(results, left_out, what)
    show_delay(results, "p50", what)
    show_delay(results, "p99", what)
    show_peers(results)


def show_cpu(results: dict[str, list[Measured]], left_out: dict[str, str], what: str) -> None:
    """Print what an event costs."""
    table = Table(what, "us CPU/event", "to bare", "ceiling, events/s")
    bare = [turn.cpu for turn in results[BARE]]
    for way, measured in results.items():
        cpu, limit = [turn.cpu for turn in measured], WAYS[way][2]
        share = middle(cpu, bare)
        table.row(
            way,
            f"{middle(cpu) * 1e6:.2f}",
            ratio(share),
            f"{middle(turn.ceiling for turn in measured):,.0f}",
            figure=share,
            bound=at_most(limit) if limit else None,
        )
    table.show()
    for way, why in left_out.items():
        print(f"{way} is left out: {why}\n")


def show_delay(results: dict[str, list[Measured]], which: str, what: str) -> None:
    """Print how long events are on their way."""
    table = Table(f"{which}, {what}", "ms", "to bare")
    bare = [getattr(turn, which) for turn in results[BARE]]
    for way, measured in results.items():
        delays = [getattr(turn, which) for turn in measured]
        share = middle(delays, bare)
        ours = WAYS[way][0] in (OURS, FULL)
        figure, bound = (
            (share, at_most(1.5)) if which == "p99" else (middle(delays) * 1e3, at_most(0.1, "ms"))
        )
        table.row(
            way,
            f"{middle(delays) * 1e3:.3f}",
            ratio(share),
            figure=figure,
            bound=bound if ours else None,
        )
    table.show()


def show_peers(results: dict[str, list[Measured]]) -> None:
    """Print this library against the best of the others in Python, in each round."""
    peers = [results[way] for way in PEERS if way in results]
    if not peers:
        return
    table = Table("against the best of the other ways in Python", "ratio")
    cheapest = [min(turn.cpu for turn in turns) for turns in zip(*peers, strict=True)]
    highest = [max(turn.ceiling for turn in turns) for turns in zip(*peers, strict=True)]
    bounds: dict[str, tuple[list[float], Bound]] = {
        "cpu": (cheapest, at_most(1)),
        "ceiling": (highest, at_least(1)),
    }
    for way, measured in results.items():
        if WAYS[way][0] not in (OURS, FULL):
            continue
        for which, (best, bound) in bounds.items():
            share = middle([getattr(turn, which) for turn in measured], best)
            table.row(
                f"{way}: {which.replace('cpu', 'CPU')}", ratio(share), figure=share, bound=bound
            )
    table.show()


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tokens", description=__doc__)
    parser.add_argument(
        "--streams", type=int, default=1_000, help="streams of each way (default: 1000)"
    )
    parser.add_argument(
        "--rate", type=int, default=40, help="events a second of each stream (default: 40)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="how long a turn is measured (default: 2)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median is shown (default: 5)"
    )
    parser.add_argument("--only", nargs="+", choices=[*WAYS], help="these ways, and the bare one")
    chosen = parser.parse_args(arguments)
    ways = [way for way in WAYS if way == BARE or way in (chosen.only or WAYS)]
    run(ways, chosen.streams, chosen.rate, chosen.seconds, chosen.rounds)
    return 0
