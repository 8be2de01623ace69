"""What a Datastar patch costs in a broadcast, against a plain ``send`` of the very same bytes.

Both are dispatched through the whole chain to the same open streams, in turns; the clients are
another process. A patch is an action: its options are checked and its lines are joined, once for
each broadcast, and then it is a ``send`` like the other. The figure is the CPU that this process
uses until everything has been written, divided by the events that arrive.
"""

from __future__ import annotations

import argparse
import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from tornado.web import Application

from sfere_tornado import Hub, HubConfig, StoreConfig, broadcast, send
from sfere_tornado.datastar.actions import Datastar, patch_elements
from sfere_tornado.wire.event_stream import Event, encode

from .clients import HOST, allow_many_files, text
from .fanout import FEW, MANY_TIMES, measure, microseconds, repeated
from .load import Load
from .serving import LOBBY, STOPPING, Events, Serving
from .table import Table, at_most, middle, ratio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

#: Bytes of an event on the wire, and the number of lines of HTML in it: a table of some twenty
#: rows.
SIZE: Final = 2048
LINES: Final = 20

#: The name of the event; it is on the wire, so both ways have it.
EVENT: Final = "datastar-patch-elements"

#: Bytes on the wire around a line of HTML, and around all of them.
_AROUND_LINE: Final = len("data: elements \n")
_AROUND: Final = len(f"event: {EVENT}\n\n")


def html() -> str:
    """Return HTML with the present time, whose patch has :data:`SIZE` bytes on the wire."""
    first = text(150)
    rest = SIZE - _AROUND - LINES * _AROUND_LINE - len(first) - len("<table id=t></table>")
    size, more = divmod(rest, LINES - 1)
    rows = [f"<tr><td>{'x' * (size - 8)}" for _ in range(LINES - 2)]
    return "\n".join([f"<table id=t>{first}", *rows, f"<tr><td>{'x' * (size + more - 8)}</table>"])


def data_of(elements: str) -> str:
    """Return the data of a patch of elements."""
    return "\n".join([f"elements {line}" for line in elements.split("\n")])


@asynccontextmanager
async def serving(streams: int) -> AsyncIterator[Serving]:
    """Serve a hub with Datastar's actions, and this number of open streams."""
    allow_many_files()
    hub = Hub(HubConfig(store=StoreConfig(maxsize=20_000)), registries=[Datastar()])
    port = hub.listen(Application([("/events", Events)]), 0, HOST)
    with Load() as load:
        made = Serving(hub, port, load)
        await made.open(streams)
        yield made
        await hub.drain(window=0, timeout=STOPPING)


def sending(at: Serving) -> Callable[[], Awaitable[None]]:
    """Return the broadcast of ready data."""

    async def way() -> None:
        at.hub.dispatch(broadcast(LOBBY, send(data_of(html()), event=EVENT)))
        await at.written()

    return way


def patching(at: Serving) -> Callable[[], Awaitable[None]]:
    """Return the broadcast of a patch."""

    async def way() -> None:
        at.hub.dispatch(broadcast(LOBBY, patch_elements(html())))
        await at.written()

    return way


def check(hub: Hub) -> None:
    """Check that both ways write the same bytes, and the right number of them.

    Raises:
        ValueError: when they do not.
    """
    elements = html()
    [patch] = hub.explain(patch_elements(elements)).steps
    _, data, options = patch.effect
    found: list[Any] = [encode(Event(data, **options)), encode(Event(data_of(elements), EVENT))]
    if found[0] != found[1] or len(found[0]) != SIZE:
        raise ValueError(f"the two ways do not write the same {SIZE} bytes")


async def many(streams: int, rounds: int) -> None:
    """Measure what a patch costs for each event that is delivered."""
    async with serving(streams) as at:
        check(at.hub)
        ways = {"send": (sending(at), 1), "patch": (patching(at), 1)}
        taken = await measure(at, ways, rounds, f"patches to {streams:,}")
    share = middle(taken["patch"], taken["send"])
    table = Table(f"{SIZE:,} bytes to {streams:,} streams", "us CPU/event", "ratio")
    table.row("broadcast of a plain send", microseconds(taken["send"]), ratio(1))
    table.row(
        "broadcast of patch_elements, the same bytes",
        microseconds(taken["patch"]),
        ratio(share),
        figure=share,
        bound=at_most(1.1),
    )
    table.show()


async def few(rounds: int) -> None:
    """Measure what a patch costs by itself, with few receivers."""
    async with serving(FEW) as at:
        ways = {
            "send": (repeated(sending(at), MANY_TIMES), MANY_TIMES),
            "patch": (repeated(patching(at), MANY_TIMES), MANY_TIMES),
        }
        taken = await measure(at, ways, rounds, f"patches to {FEW}", times=1)
    added = (
        middle(one - other for one, other in zip(taken["patch"], taken["send"], strict=True))
        * FEW
        * 1e6
    )
    table = Table(f"{SIZE:,} bytes to {FEW} streams", "us CPU/broadcast", "us added")
    table.row("broadcast of a plain send", f"{middle(taken['send']) * FEW * 1e6:.1f}", "")
    table.row(
        "broadcast of patch_elements", f"{middle(taken['patch']) * FEW * 1e6:.1f}", f"{added:.1f}"
    )
    table.show()


async def run(streams: int, rounds: int) -> None:
    """Measure everything and print the tables."""
    await many(streams, rounds)
    await few(rounds)


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks patches", description=__doc__)
    parser.add_argument(
        "--streams", type=int, default=5_000, help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=11, help="rounds, of which the median is shown (default: 11)"
    )
    chosen = parser.parse_args(arguments)
    asyncio.run(run(chosen.streams, chosen.rounds))
    return 0
