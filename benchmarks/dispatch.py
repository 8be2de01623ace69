"""What a dispatch costs by itself: for each broadcast, for each effect, for each interceptor.

Nothing is written: the connections take bytes and discard them. So only the chain is measured.
"""

from __future__ import annotations

import argparse
import gc
import time
from typing import TYPE_CHECKING, Any

from sfere_tornado import ANY, Connection, Event, Hub, Registry, broadcast, send
from sfere_tornado.streams.fanout import Fanout
from sfere_tornado.streams.writer import Writer
from sfere_tornado.wire.event_stream import encode

from .table import Table, at_most, in_turns, middle

if TYPE_CHECKING:
    from collections.abc import Callable

LOBBY = (ANY, ("lobby", ANY))

#: Receivers of a broadcast, and additional effects in a dispatch of several.
FEW = 10
MORE = 9

#: Calls measured together; a single one is too short for the clock.
CALLS = 1_000

DATA = "x" * 140


class Nowhere:
    """A transport that takes everything and keeps nothing."""

    last_frame = b""

    def __init__(self) -> None:
        self.direct = len

    def frame(self, payload: bytes) -> bytes:
        return payload

    def ready(self, *drained: Callable[[], object]) -> bool:
        return True

    def closed(self) -> bool:
        return False


def connections(hub: Hub, count: int) -> list[Connection]:
    """Return connections that are stored in the lobby."""
    made = []
    for number in range(count):
        connection = Connection(writer=hub.streams.writer)
        connection.open(Nowhere())
        hub.store.put(("default", ("lobby", str(number))), connection)
        made.append(connection)
    return made


def nothing_registry() -> Registry:
    """Return a registry with an effect that does nothing."""
    registry = Registry("bench")

    @registry.effect("nothing")
    def nothing(ctx: Any) -> None:
        """Do nothing."""

    return registry


def passing(ctx: Any) -> None:
    """Change nothing."""


def ways() -> dict[str, Callable[[], Any]]:
    """Return the functions that are measured, by name."""
    plain = Hub(registries=[nothing_registry()])
    watched = Hub(
        registries=[nothing_registry()],
        interceptors=[{"id": "all", "before_dispatch": passing, "after_dispatch": passing}],
    )
    found = connections(plain, FEW)
    writer = Writer()
    one, several = ("nothing",), [("nothing",)] * (1 + MORE)
    return {
        "fan-out alone": lambda: Fanout(found, writer).deliver(encode(Event(DATA))),
        "broadcast": lambda: plain.dispatch(broadcast(LOBBY, send(DATA))),
        "broadcast each": lambda: plain.dispatch(broadcast(LOBBY, send(DATA), each=True)),
        "no effect": lambda: plain.dispatch([]),
        "one effect": lambda: plain.dispatch(one),
        "several effects": lambda: plain.dispatch(several),
        "interceptor": lambda: watched.dispatch(one),
    }


def measure(rounds: int) -> dict[str, list[float]]:
    """Return microseconds per call, by name and round."""
    measured = ways()
    taken: dict[str, list[float]] = {name: [] for name in measured}
    # A full collection in the middle of a round would be counted as that round's work.
    gc.collect()
    gc.disable()
    for name in in_turns(list(measured), rounds, "dispatch"):
        way = measured[name]
        begin = time.perf_counter()
        for _ in range(CALLS):
            way()
        taken[name].append((time.perf_counter() - begin) / CALLS * 1e6)
        gc.collect(0)
    gc.enable()
    return taken


def main(arguments: list[str]) -> int:
    """Measure and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks dispatch", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds, of which the median is shown (default: 15)"
    )
    taken = measure(parser.parse_args(arguments).rounds)

    def added(name: str, to: str) -> float:
        return middle(one - other for one, other in zip(taken[name], taken[to], strict=True))

    table = Table("dispatch", "us", "us added")
    adds = added("broadcast", "fan-out alone")
    table.row(
        f"an event delivered to {FEW} connections, without any dispatch",
        f"{middle(taken['fan-out alone']):.1f}",
        "",
    )
    table.row(
        f"the same by hub.dispatch(broadcast(...)), to {FEW} by pattern",
        f"{middle(taken['broadcast']):.1f}",
        f"{adds:.1f}",
        figure=adds,
        bound=at_most(30, "us"),
    )
    each = middle(taken["broadcast each"])
    table.row(
        "the same with each=True", f"{each:.1f}", f"{added('broadcast each', 'fan-out alone'):.1f}"
    )
    table.row("a dispatch of nothing", f"{middle(taken['no effect']):.1f}", "")
    first = added("one effect", "no effect")
    table.row(
        "with one effect that does nothing", f"{middle(taken['one effect']):.1f}", f"{first:.1f}"
    )
    more = added("several effects", "one effect") / MORE
    table.row("for each further effect", "", f"{more:.1f}")
    watched = added("interceptor", "one effect")
    table.row("for an interceptor with two stages of the dispatch", "", f"{watched:.1f}")
    table.show()
    return 0
