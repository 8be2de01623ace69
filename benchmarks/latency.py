"""How long events are on their way, how soon a departure is noticed, and what clients that do not
read cost the others.

Everything is measured in one process with a hub, whose clients are in other processes: against a
bare loop of ``socket.send`` on the same sockets; while the hub broadcasts without pause; and with a
hundred clients that have stopped reading.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import struct
import termios
import time
from typing import TYPE_CHECKING, NamedTuple

from sfere_tornado import broadcast, send
from sfere_tornado.defaults import MAX_OUTBOX

from .clients import text
from .fanout import bare_loop, hub_dispatch
from .lateness import Lateness, hundredth
from .load import Load
from .serving import LOBBY, serving, stream_of
from .table import Table, at_most, in_turns, middle, progress, ratio

if TYPE_CHECKING:
    from .serving import Serving

#: Broadcasts of each way in a round, of which the slowest hundredth is taken.
TIMES = 5

#: Seconds between clients that leave, one after another, while the hub broadcasts without pause.
PAUSE = 0.01

#: Bytes of an event while some clients do not read: large, so that they reach their bound after
#: some hundred.
LARGE = 4_096

#: Broadcasts without stalled clients in each round, and the maximum with them.
WITHOUT = 100
AT_MOST = 2_000

MIB = 1024 * 1024


async def delivery(streams: int, rounds: int) -> None:
    """Measure the slowest hundredth of deliveries against the bare loop."""
    async with serving(streams) as at:
        ways = {"bare": bare_loop(at), "hub": hub_dispatch(at)}
        p99 = {name: [] for name in ways}
        last = {name: [] for name in ways}
        for name in in_turns(list(ways), rounds, f"delivery to {streams:,}"):
            arrivals = [await at.deliver(ways[name]) for _ in range(TIMES)]
            p99[name].append(middle(one.p99 for one in arrivals))
            last[name].append(middle(one.last for one in arrivals))
    table = Table(
        f"delivery to {streams:,}, one event at a time", "p99 ms", "last ms", "ratio of p99"
    )
    share = middle(p99["hub"], p99["bare"])
    table.row(
        "bare loop of socket.send", milliseconds(p99["bare"]), milliseconds(last["bare"]), ratio(1)
    )
    table.row(
        "hub.dispatch(broadcast(...))",
        milliseconds(p99["hub"]),
        milliseconds(last["hub"]),
        ratio(share),
        figure=share,
        bound=at_most(1.5),
    )
    table.show()


async def without_pause(streams: int, leaving: int, rounds: int) -> None:
    """Measure how soon a close is noticed, and how late the loop is, during endless broadcasts."""
    noticed: list[float] = []
    late: list[float] = []
    async with serving(streams) as at:
        hub = at.hub
        gone: asyncio.Future[float] | None = None

        @hub.on_evict
        def left(key, connection, cause) -> None:
            if gone is not None and not gone.done():
                gone.set_result(time.monotonic())

        async def broadcast_on() -> None:
            while True:
                await hub.dispatch(broadcast(LOBBY, send(text())))

        with Load() as clients:
            for number in range(rounds):
                progress(
                    f"broadcasting without pause to {streams:,}: round {number + 1} of {rounds}"
                )
                await clients.opened(at.port, leaving, first=(number + 1) * 100_000)
                at.load.expect(2**62)
                lateness = Lateness()
                broadcasting = asyncio.create_task(broadcast_on())
                seconds = []
                for _ in range(leaving):
                    await asyncio.sleep(PAUSE)
                    gone = asyncio.get_running_loop().create_future()
                    began = await clients.left(1)
                    seconds.append(await gone - began / 1e9)
                lateness.stop()
                broadcasting.cancel()
                await asyncio.wait({broadcasting})
                noticed.append(hundredth(seconds))
                late.append(hundredth(lateness.seconds))
    table = Table(f"broadcasting without pause to {streams:,}", "p99 ms")
    for name, figures, limit in (
        ("close noticed, the store told", noticed, 10),
        ("lateness of the loop", late, 5),
    ):
        table.row(
            name, milliseconds(figures), figure=middle(figures) * 1e3, bound=at_most(limit, "ms")
        )
    table.show()


class Stalled(NamedTuple):
    """One round: seconds of the other clients' slowest hundredth without and with stalled clients,
    bytes kept, seconds to the cut.
    """

    without: float
    present: float
    held: int
    cut: float


async def stall(at: Serving, count: int, number: int) -> Stalled:
    """Measure one round with this number of clients that do not read, until all of them are cut."""
    hub = at.hub
    without = [await at.deliver(lambda: at.broadcast(LARGE)) for _ in range(WITHOUT)]
    before = set(hub.streams)
    with Load() as stalling:
        await stalling.opened(at.port, count, first=(number + 1) * 100_000)
        stalling.stall()
        stalled = [connection for connection in hub.streams if connection not in before]
        present, held, cut = [], 0, 0.0
        while stalled and len(present) < AT_MOST:
            held = max(held, *map(bytes_held, stalled))
            full = [one for one in stalled if one.outbox + LARGE > MAX_OUTBOX]
            began = time.monotonic()
            at.load.expect(at.streams)
            at.broadcast(LARGE)
            await at.written()
            stalled = [connection for connection in stalled if not connection.closed]
            if full and not any(one in stalled for one in full):
                cut = max(cut, time.monotonic() - began)
            present.append(await at.load.arrived())
        if stalled:
            raise RuntimeError(
                f"{len(stalled)} of {count} clients were not cut after {AT_MOST} events"
            )
    return Stalled(
        middle(one.p99 for one in without), middle(one.p99 for one in present), held, cut
    )


def bytes_held(connection) -> int:
    """Return the bytes that wait for a client, in this process and in the kernel."""
    stream = stream_of(connection)
    if stream.closed():
        return 0
    (queued,) = struct.unpack("i", fcntl.ioctl(stream.socket.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return connection.outbox + queued


async def stalled_clients(streams: int, count: int, rounds: int) -> None:
    """Measure what clients that do not read cost the other clients, and the server."""
    found = []
    async with serving(streams - count) as at:
        for number in range(rounds):
            progress(f"{count} stalled of {streams:,}: round {number + 1} of {rounds}")
            found.append(await stall(at, count, number))
    share = middle([one.present for one in found], [one.without for one in found])
    held, cut = max(one.held for one in found), max(one.cut for one in found)
    table = Table(f"{count} stalled of {streams:,}, events of {LARGE:,} bytes", "", "ratio")
    table.row(
        "p99 of the others, without them",
        f"{milliseconds(one.without for one in found)} ms",
        ratio(1),
    )
    table.row(
        "p99 of the others, with them",
        f"{milliseconds(one.present for one in found)} ms",
        ratio(share),
        figure=share,
        bound=at_most(1.5),
    )
    bound = at_most(1.3, "MiB")
    table.row(
        "held for one of them, at most", f"{held / MIB:.2f} MiB", "", figure=held / MIB, bound=bound
    )
    table.row(
        "from its bound to its cut, at most",
        f"{cut * 1e3:.0f} ms",
        "",
        figure=cut,
        bound=at_most(2, "s"),
    )
    table.show()


def milliseconds(seconds) -> str:
    """Return the median, formatted."""
    return f"{middle(seconds) * 1e3:.2f}"


async def run(chosen: argparse.Namespace) -> None:
    """Measure everything and print the tables."""
    await delivery(chosen.streams, chosen.rounds)
    await without_pause(chosen.streams, chosen.leaving, chosen.rounds)
    await stalled_clients(chosen.with_stalled, chosen.stalled, chosen.rounds)


def main(arguments: list[str]) -> int:
    """Measure and print the tables; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks latency", description=__doc__)
    parser.add_argument("--streams", type=int, default=5_000, help="open streams (default: 5000)")
    parser.add_argument(
        "--with-stalled", type=int, default=2_000, help="streams where some stall (default: 2000)"
    )
    parser.add_argument(
        "--stalled", type=int, default=100, help="how many of those stall (default: 100)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds, of which the median is shown (default: 5)"
    )
    parser.add_argument(
        "--leaving", type=int, default=100, help="how many leave in a round (default: 100)"
    )
    asyncio.run(run(parser.parse_args(arguments)))
    return 0
