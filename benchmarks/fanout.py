"""What a broadcast costs through the whole chain, against a bare loop of ``socket.send`` on the
same sockets.

Both are measured in one process, in turns, with the same bytes; the clients are another process.
The figure is the CPU that this process uses until everything has been written, divided by the
events that arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any

from sfere_tornado import broadcast, send
from sfere_tornado.wire.framing import chunked

from .clients import text
from .contenders.bare import send_rest
from .serving import LOBBY, certificates, serving
from .table import Table, at_most, in_turns, middle, ratio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .serving import Serving

#: Streams in the tables of ten events in one turn and of TLS; and streams in the table where only
#: the chain itself counts.
TURN_STREAMS = 1_000
TLS_STREAMS = 500
FEW = 10

#: Broadcasts measured together when there are few streams; a single one is too short for the clock.
MANY_TIMES = 200


def framed() -> bytes:
    """Return the bytes that a broadcast of now sends to each stream."""
    return chunked(f"data: {text()}\n\n".encode())


def bare_loop(at: Serving) -> Callable[[], None]:
    """Return a loop of ``socket.send`` over all streams."""
    sends = [stream.socket.send for stream in at.tornado_streams()]

    def loop() -> None:
        data = framed()
        size = len(data)
        for write in sends:
            # A try costs nothing where nothing is raised, and one comparison is some 20 ns of the
            # microseconds that a send takes: a loop without both is not a server.
            try:
                sent = write(data)
            except BlockingIOError:
                sent = 0
            if sent != size:
                send_rest(write.__self__, data[sent:])

    return loop


def hub_dispatch(at: Serving, events: int = 1) -> Callable[[], Awaitable[None]]:
    """Return the dispatch of events in one turn, until they have been written."""

    async def way() -> None:
        for _ in range(events):
            at.hub.dispatch(broadcast(LOBBY, send(text())))
        await at.written()

    return way


def repeated(way: Callable[[], Any], times: int) -> Callable[[], Awaitable[None]]:
    """Return a way that repeats another way, each time in its own turn of the event loop."""

    async def many() -> None:
        for _ in range(times):
            going = way()
            # Await just one turn, in which what was dispatched is written.
            await (asyncio.sleep(0) if going is None else going)

    return many


async def measure(
    at: Serving,
    ways: dict[str, tuple[Callable[[], Any], int]],
    rounds: int,
    what: str,
    *,
    times: int = 3,
) -> dict[str, list[float]]:
    """Measure ways in turns.

    Args:
        at: the hub that serves the streams.
        ways: by name, a way and how many events it delivers to each stream.
        rounds: how many figures of each way.
        what: the title of the lines of progress.
        times: how often each way runs in a round.

    Returns:
        By name, the seconds of CPU for each event delivered, by round.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for name in in_turns(list(ways), rounds, what):
        way, events = ways[name]
        used = 0.0

        async def timed(way: Callable[[], Any] = way) -> None:
            nonlocal used
            begin = time.process_time()
            going = way()
            if going is not None:
                await going
            used += time.process_time() - begin

        for _ in range(times):
            await at.deliver(timed, events)
        taken[name].append(used / (times * events * at.streams))
    return taken


async def sizes(streams: int, rounds: int, table: Table) -> None:
    """Measure one size against the bare loop."""
    async with serving(streams) as at:
        ways = {"bare": (bare_loop(at), 1), "hub": (hub_dispatch(at), 1)}
        taken = await measure(at, ways, rounds, f"fan-out to {streams:,}")
    share = middle(taken["hub"], taken["bare"])
    table.row(
        f"{streams:,} streams, bare loop of socket.send", microseconds(taken["bare"]), ratio(1)
    )
    table.row(
        f"{streams:,} streams, hub.dispatch(broadcast(...))",
        microseconds(taken["hub"]),
        ratio(share),
        figure=share,
        bound=at_most(1.25),
    )


async def turns(rounds: int, table: Table) -> None:
    """Measure ten events in one turn against ten turns."""
    async with serving(TURN_STREAMS) as at:
        ways = {"ten": (repeated(hub_dispatch(at), 10), 10), "one": (hub_dispatch(at, 10), 10)}
        taken = await measure(at, ways, rounds, f"ten events to {TURN_STREAMS:,}")
    share = middle(taken["one"], taken["ten"])
    table.row(
        f"{TURN_STREAMS:,} streams, ten events in ten turns", microseconds(taken["ten"]), ratio(1)
    )
    table.row(
        f"{TURN_STREAMS:,} streams, ten events in one turn",
        microseconds(taken["one"]),
        ratio(share),
        figure=share,
        bound=at_most(0.25),
    )


async def tls(rounds: int, table: Table) -> None:
    """Measure TLS against Tornado's own write of ready bytes."""
    made = certificates()
    if made is None:
        print("TLS is left out: trustme is not installed")
        return
    async with serving(TLS_STREAMS, tls=made) as at:
        streams = at.tornado_streams()

        def tornado_writes() -> None:
            data = framed()
            for stream in streams:
                stream.write(data)

        ways = {"tornado": (tornado_writes, 1), "hub": (hub_dispatch(at), 1)}
        taken = await measure(at, ways, rounds, f"TLS to {TLS_STREAMS:,}")
    share = middle(taken["hub"], taken["tornado"])
    table.row(
        f"{TLS_STREAMS:,} streams over TLS, IOStream.write of ready bytes",
        microseconds(taken["tornado"]),
        ratio(1),
    )
    table.row(
        f"{TLS_STREAMS:,} streams over TLS, hub.dispatch(broadcast(...))",
        microseconds(taken["hub"]),
        ratio(share),
        figure=share,
        bound=at_most(0.7),
    )


async def few(rounds: int) -> None:
    """Measure what the chain adds to a broadcast to few streams."""
    async with serving(FEW) as at:
        ways = {
            "bare": (repeated(bare_loop(at), MANY_TIMES), MANY_TIMES),
            "hub": (repeated(hub_dispatch(at), MANY_TIMES), MANY_TIMES),
        }
        taken = await measure(at, ways, rounds, f"broadcasts to {FEW}", times=1)
    table = Table(f"{FEW} streams", "us CPU/broadcast", "us added")
    bare, hub = (middle(taken[name]) * FEW * 1e6 for name in ("bare", "hub"))
    added = (
        middle(one - other for one, other in zip(taken["hub"], taken["bare"], strict=True))
        * FEW
        * 1e6
    )
    table.row("bare loop of socket.send", f"{bare:.1f}", "")
    table.row(
        "hub.dispatch(broadcast(...))",
        f"{hub:.1f}",
        f"{added:.1f}",
        figure=added,
        bound=at_most(30, "us"),
    )
    table.show()


def microseconds(taken: list[float]) -> str:
    """Return the median, formatted."""
    return f"{middle(taken) * 1e6:.2f}"


async def run(streams: list[int], rounds: int) -> None:
    """Measure everything and print the tables."""
    table = Table("fan-out, one process", "us CPU/event", "ratio")
    for size in streams:
        await sizes(size, rounds, table)
    await turns(rounds, table)
    await tls(rounds, table)
    table.show()
    await few(rounds)


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks fanout", description=__doc__)
    parser.add_argument(
        "--streams", type=int, nargs="+", default=[1_000, 5_000, 9_500], help="sizes"
    )
    parser.add_argument(
        "--rounds", type=int, default=11, help="rounds, of which the median is shown (default: 11)"
    )
    chosen = parser.parse_args(arguments)
    asyncio.run(run(chosen.streams, chosen.rounds))
    return 0
