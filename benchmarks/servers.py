"""Whole servers, each in a process of its own, with the same streams and the same events.

The figure is the CPU that the server's process uses, of user and system, for each event that
arrives at a client; what it does not use is left for everything else. A second figure is how long
the last client and the slowest hundredth wait for one event. All servers run at the same time, each
with clients in a process of its own, and take turns; only the one whose turn it is has work.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from .clients import ACKNOWLEDGED_AT_ONCE, SILENCE
from .load import Load
from .server import NODE, PYTHON, Server, missing
from .table import Table, at_least, in_turns, middle, progress, ratio

if TYPE_CHECKING:
    from .clients import Arrivals

OURS = "sfere_tornado"
BARE = "bare socket.send"

#: How many times as much CPU per event each of the others must need, at least.
TIMES = {
    "textbook Tornado": 2.7,
    "sse-starlette": 6.0,
    "sse-starlette, httptools": 6.0,
    "the same, just a queue": 6.0,
    "aiohttp-sse": 5.0,
    NODE: 1.7,
}

#: The same with ten events in one turn, for those that have a bound.
TEN_TIMES = {
    "sse-starlette": 15.0,
    "sse-starlette, httptools": 15.0,
    "the same, just a queue": 15.0,
}

#: Events in one turn in the second table, and streams.
TURN = 10
TURN_STREAMS = 1_000

#: Seconds after the last delivery in which a server cleans up what the event has left.
SETTLING = 0.02


class Measured(NamedTuple):
    """One turn of one server: seconds of CPU per event delivered, seconds to the last delivery, and
    to 99 % of them.
    """

    cpu: float
    last: float
    p99: float


def deliver(server: Server, load: Load, streams: int, events: int) -> Arrivals:
    """Have this number of events dispatched in one turn, and wait until all have arrived."""
    load.expect(streams * events)
    server.dispatch(events)
    return load.arrivals()


def measure(server: Server, load: Load, streams: int, events: int, turns: int) -> Measured:
    """Measure this number of turns of this number of events each, in the steady state."""
    for _ in range(ACKNOWLEDGED_AT_ONCE):
        # On a slower server each event of a client follows a silence, whatever is done here.
        if deliver(server, load, streams, 1).last > SILENCE:
            break
    before = server.cpu()
    arrivals = [deliver(server, load, streams, events) for _ in range(turns)]
    time.sleep(SETTLING)
    return Measured(
        (server.cpu() - before) / (turns * events * streams),
        middle(one.last for one in arrivals),
        middle(one.p99 for one in arrivals),
    )


def start(names: list[str], streams: int, stack: ExitStack) -> dict[str, tuple[Server, Load]]:
    """Start servers and open their streams."""
    running = {}
    for name in names:
        progress(f"{name}: opening {streams:,} streams")
        try:
            server = stack.enter_context(Server(name))
        except RuntimeError as error:
            print(f"{name} is left out: {error}")
            continue
        load = stack.enter_context(Load())
        load.open(server.port, streams)
        running[name] = (server, load)
    return running


def run(names: list[str], streams: int, rounds: int) -> None:
    """Measure one size and print its table, and that of ten events in a turn at the size for it."""
    with ExitStack() as stack:
        running = start(names, streams, stack)
        for events in (1, TURN) if streams == TURN_STREAMS else (1,):
            found = {name: [] for name in running}
            what = f"{streams:,} streams, {events} in a turn"
            for name in in_turns(list(running), rounds, what):
                found[name].append(
                    measure(*running[name], streams, events, 5 if events == 1 else 3)
                )
            show(found, what, TIMES if events == 1 else TEN_TIMES)


def show(found: dict[str, list[Measured]], what: str, times: dict[str, float]) -> None:
    """Print one table."""
    table = Table(f"servers, {what}", "us CPU/event", "x ours", "last ms", "p99 ms")
    ours = [one.cpu for one in found[OURS]]
    for name, measured in found.items():
        cpu = [one.cpu for one in measured]
        share = middle(cpu, ours)
        bound = at_least(times[name]) if name in times else None
        table.row(
            name,
            f"{middle(cpu) * 1e6:.2f}",
            ratio(share),
            f"{middle(one.last for one in measured) * 1e3:.1f}",
            f"{middle(one.p99 for one in measured) * 1e3:.1f}",
            figure=share,
            bound=bound,
        )
    if BARE in found:
        bare = middle(ours, [one.cpu for one in found[BARE]])
        p99 = middle([one.p99 for one in found[OURS]], [one.p99 for one in found[BARE]])
        table.row("ours to the bare one", "", ratio(bare), "", ratio(p99))
    table.show()


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks servers", description=__doc__)
    parser.add_argument(
        "--streams",
        type=int,
        nargs="+",
        default=[1_000, 5_000, 9_500],
        help="sizes, one table each",
    )
    parser.add_argument(
        "--rounds", type=int, default=9, help="rounds, of which the median is shown (default: 9)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=[*PYTHON, NODE], help="these servers, and ours"
    )
    chosen = parser.parse_args(arguments)
    names = [
        name for name in (*PYTHON, NODE) if name == OURS or name in (chosen.only or (*PYTHON, NODE))
    ]
    for name in names:
        if missing(name):
            print(f"{name} is left out: {missing(name)}")
    names = [name for name in names if not missing(name)]
    for streams in chosen.streams:
        run(names, streams, chosen.rounds)
    return 0
