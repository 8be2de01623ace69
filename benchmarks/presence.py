"""Simulated users who reload, open second tabs, drop and come back, over real sockets, for minutes,
while all others read it.

The hub is a process of its own, the users are in this one. Every stream reads ``presence_state``
and then ``presence_diff``, and each line is compared with the truth. No figure here is a speed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from typing import TYPE_CHECKING, Any

from tornado.web import Application

from sfere_tornado import Hub, HubConfig, SSEHandler, StoreConfig
from sfere_tornado.config import GraceConfig, PresenceConfig

from .clients import HOST, allow_many_files
from .table import Table, at_least, at_most, progress
from .users import MISTAKES, PATIENCE, Crowd, Findings

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe


class Events(SSEHandler):
    """The stream of a user, which says which life it belongs to."""

    def connection_key(self) -> tuple[str, str]:
        """Return the key of the user."""
        return ("room", self.get_query_argument("name"))

    def presence_meta(self) -> dict[str, Any]:
        """Return the tab and the life."""
        return {**super().presence_meta(), "data": int(self.get_query_argument("life"))}


def make_hub(grace: float) -> Hub:
    """Return a hub with this grace period, in seconds, which sends every change to all users."""
    presence = PresenceConfig(grace=GraceConfig(client=grace, error=grace), large=10_000)
    return Hub(HubConfig(presence=presence, store=StoreConfig(ttl=86_400.0)))


def present(hub: Hub) -> set[str]:
    """Return the present members, as the hub knows them."""
    return {member.key.id for member in hub.presence.roster()}


def serve(pipe: Pipe, grace: float) -> None:
    """Run the server: send the port, then the present members whenever asked, until the other side
    has gone.
    """
    allow_many_files()
    asyncio.run(_serve(pipe, grace))


async def _serve(pipe: Pipe, grace: float) -> None:
    hub, stopped = make_hub(grace), asyncio.Event()

    def answer() -> None:
        try:
            pipe.recv()
        except EOFError:
            stopped.set()
        else:
            pipe.send(present(hub))

    pipe.send(hub.listen(Application([("/events", Events)]), 0, HOST))
    loop = asyncio.get_running_loop()
    loop.add_reader(pipe.fileno(), answer)
    await stopped.wait()
    loop.remove_reader(pipe.fileno())
    await hub.stop()


def show(findings: Findings, members: int, grace: float) -> None:
    """Print the table."""
    for wrong in findings.wrong:
        progress(f"  {wrong}")
    table = Table(
        f"{members:,} members who come and go for {findings.seconds:.0f} s, a grace of {grace:g} s",
        "",
    )
    table.row("streams open at a time, at most", f"{findings.most_streams:,}")
    table.row(
        "reloads, and drops within the grace",
        f"{findings.done['reload'] + findings.done['drop']:,}",
    )
    table.row("  of them too slow to be judged", f"{findings.unsure:,}")
    table.row("second tabs opened or closed", f"{findings.done['second tab']:,}")
    table.row(
        "departures",
        f"{findings.done['leave']:,}",
        figure=findings.done["leave"],
        bound=at_least(1, ""),
    )
    table.row("announcements of them that were read", f"{findings.read:,}")
    for kind, name in MISTAKES.items():
        table.row(
            name,
            f"{findings.mistakes[kind]:,}",
            figure=findings.mistakes[kind],
            bound=at_most(0, ""),
        )
    table.row(
        "rosters compared", f"{findings.checks:,}", figure=findings.checks, bound=at_least(1, "")
    )
    for name, times in (("first", sorted(findings.first)), ("last", sorted(findings.last))):
        if times:
            middle, most = times[len(times) // 2] * 1000, times[-1] * 1000
            table.row(
                f"the {name} one has read of it, after the grace",
                f"{middle:.0f} ms (at most {most:.0f})",
            )
    table.show()


def main(arguments: list[str]) -> int:
    """Let users come and go, and compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks presence", description=__doc__)
    parser.add_argument("--members", type=int, default=1000, help="(default: 1000)")
    parser.add_argument(
        "--minutes", type=float, default=3.0, help="how long they come and go (default: 3)"
    )
    parser.add_argument("--grace", type=float, default=1.0, help="seconds (default: 1)")
    parser.add_argument(
        "--rate", type=float, default=5.0, help="departures in a second, about (default: 5)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of everything random (default: 1)")
    chosen = parser.parse_args(arguments)
    allow_many_files()
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, chosen.grace), daemon=True)
    server.start()
    theirs.close()

    async def ask() -> set[str]:
        pipe.send("who?")
        return await asyncio.to_thread(pipe.recv)

    async def run() -> Findings:
        crowd = Crowd(
            pipe.recv(),
            ask,
            members=chosen.members,
            seconds=chosen.minutes * 60,
            grace=chosen.grace,
            rate=chosen.rate,
            seed=chosen.seed,
            report=lambda line: progress(f"  {line}"),
        )
        return await crowd.run()

    try:
        findings = asyncio.run(run())
    finally:
        pipe.close()
        server.join(PATIENCE)
        server.kill()
    show(findings, chosen.members, chosen.grace)
    return 1 if findings.mistakes.total() else 0
