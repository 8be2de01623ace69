"""Which way one thing goes through the package: calls, functions, modules, moves between modules.

Four journeys are traced on a running server with history and presence: one broadcast, one close,
one opening, one reconnect. A call is counted where its code is in the package. What the test client
does is not counted, nor what it calls: it runs in the same process, so that it is in time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .table import Table, at_most

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator
    from types import FrameType

#: Each journey, and what it took in the version that the bounds refer to, measured by this tool:
#: calls, distinct functions, modules, moves between modules.
BEFORE: Final = {
    "opening": (394, 185, 39, 265),
    "broadcast": (136, 89, 24, 84),
    "close": (197, 132, 38, 132),
    "reconnect": (386, 201, 40, 261),
}

#: At most this share of what it took before.
SHARE: Final = 0.6

#: Seconds in which what a journey has left for later turns of the loop is done.
SETTLING: Final = 0.05

#: Each journey is made so often; the one with the median number of calls is shown. A timer that
#: falls into one of them does not count.
ROUNDS: Final = 5


class Call(NamedTuple):
    """One call: the module's file below the package, and the function's qualified name."""

    module: str
    function: str


class Journey(NamedTuple):
    """The calls of one journey, in order."""

    calls: tuple[Call, ...]

    @property
    def figures(self) -> tuple[int, int, int, int]:
        """Calls, distinct functions, modules, moves between modules."""
        moves = sum(
            call.module != following.module
            for call, following in zip(self.calls, self.calls[1:], strict=False)
        )
        modules = {call.module for call in self.calls}
        return len(self.calls), len(set(self.calls)), len(modules), moves

    def legs(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each module with the functions called there, until the next module takes over."""
        functions: list[str] = []
        for number, call in enumerate(self.calls):
            if number and call.module != self.calls[number - 1].module:
                yield self.calls[number - 1].module, functions
                functions = []
            functions.append(call.function.replace(".<locals>", ""))
        if functions:
            yield self.calls[-1].module, functions


class Tracer:
    """Counts calls into the package while a journey is under way.

    Args:
        package: the folder of the package.
        parser: count the parser of the test client also, where it is not in ``testing``.
    """

    def __init__(self, package: Path, *, parser: bool = False) -> None:
        self._package = f"{package}/"
        self._client = f"{package}/testing/"
        self._parser = parser
        self._calls: list[Call] = []

    def _profile(self, frame: FrameType, event: str, _argument: object) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(self._package) or self._is_the_clients(frame):
            return
        self._calls.append(Call(file[len(self._package) :], frame.f_code.co_qualname))

    def _is_the_clients(self, frame: FrameType | None) -> bool:
        if self._parser:
            return frame is not None and frame.f_code.co_filename.startswith(self._client)
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._client):
                return True
            frame = frame.f_back
        return False

    async def trace(self, journey: Awaitable[Any]) -> tuple[Journey, Any]:
        """Make a journey; return its calls, and its result."""
        self._calls = []
        sys.setprofile(self._profile)
        try:
            result = await journey
            await asyncio.sleep(SETTLING)
        finally:
            sys.setprofile(None)
        return Journey(tuple(self._calls)), result


def application() -> Any:
    """Return an application with a lobby whose members read who has left."""
    # Late, because another version of the package may be measured.
    from tornado.web import Application, RequestHandler  # noqa: PLC0415

    from sfere_tornado import (  # noqa: PLC0415
        ANY,
        Hub,
        HubConfig,
        InterceptorMixin,
        SSEHandler,
        broadcast,
        send,
    )
    from sfere_tornado.config import HistoryConfig, PresenceConfig  # noqa: PLC0415

    hub = Hub(HubConfig(history=HistoryConfig(), presence=PresenceConfig()))

    class Events(SSEHandler):
        def connection_key(self) -> Any:
            return ("lobby", self.get_query_argument("name"))

        def on_open(self, connection: Any) -> Any:
            return [send("welcome", event="notice")]

    class Message(InterceptorMixin, RequestHandler):
        def post(self) -> None:
            self.dispatch(broadcast((ANY, ("lobby", ANY)), send("hello", event="message")))

    @hub.on_evict
    def left(key: Any, connection: Any, cause: str) -> None:
        hub.dispatch(broadcast((ANY, (key.category, ANY)), send(f"{key.id} left", event="left")))

    return Application([("/events", Events), ("/message", Message)], sfere=hub)


async def travel(tracer: Tracer) -> dict[str, Journey]:
    """Make each journey once, with a hub of its own; return them by name."""
    # Late, as in :func:`application`.
    from tornado.httpserver import HTTPServer  # noqa: PLC0415
    from tornado.netutil import bind_sockets  # noqa: PLC0415

    from sfere_tornado.testing import StreamClient  # noqa: PLC0415

    app = application()
    server = HTTPServer(app)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    made: dict[str, Journey] = {}

    async def opening() -> Any:
        client = await StreamClient.open(f"{url}/events?name=brian")
        await client.event("notice")
        return client

    async def say() -> None:
        client = await StreamClient.open(
            f"{url}/message", method="POST", headers={"Content-Length": "0"}
        )
        client.close()

    async def broadcast(receiver: Any) -> str:
        await say()
        event = await receiver.event("message")
        return str(event.id)

    async def close(client: Any, other: Any) -> None:
        client.close()
        await other.event("left")

    async def reconnect(last: str) -> Any:
        client = await StreamClient.open(
            f"{url}/events?name=brian", headers={"Last-Event-ID": last}
        )
        await client.event("message")
        return client

    async def step(name: str, journey: Awaitable[Any]) -> Any:
        made[name], result = await tracer.trace(journey)
        return result

    ann = await StreamClient.open(f"{url}/events?name=ann")
    await ann.event("notice")
    await asyncio.sleep(SETTLING)
    brian = await step("opening", opening())
    last = await step("broadcast", broadcast(brian))
    await step("close", close(brian, ann))
    await say()
    await asyncio.sleep(SETTLING)
    brian = await step("reconnect", reconnect(last))
    brian.close()
    ann.close()
    await asyncio.sleep(SETTLING)
    server.stop()
    await app.settings["sfere"].stop()
    await server.close_all_connections()
    return made


def measure(*, parser: bool = False) -> dict[str, Journey]:
    """Return the middle of each journey's rounds, by name."""
    import sfere_tornado  # noqa: PLC0415  # late, as in application()

    tracer = Tracer(Path(sfere_tornado.__file__).parent, parser=parser)
    rounds = [asyncio.run(travel(tracer)) for _ in range(ROUNDS)]
    return {name: middle([made[name] for made in rounds]) for name in BEFORE}


def middle(journeys: list[Journey]) -> Journey:
    """Return the journey with the median number of calls."""
    return sorted(journeys, key=lambda journey: len(journey.calls))[len(journeys) // 2]


def show(journeys: dict[str, Journey]) -> None:
    """Print the table: each figure beside what it was, and the largest share of the four."""
    table = Table("journey", "calls", "functions", "modules", "moves", "largest share")
    for name, journey in journeys.items():
        figures, before = journey.figures, BEFORE[name]
        # Functions have no bound of their own: they follow the calls.
        share = max(figures[place] / before[place] for place in (0, 2, 3))
        cells = [f"{now} ({was})" for now, was in zip(figures, before, strict=True)]
        table.row(name, *cells, f"{share:.2f} x", figure=share, bound=at_most(SHARE))
    table.show()


def show_way(name: str, journey: Journey) -> None:
    """Print a journey: its modules in order with what was called, then the most frequent calls."""
    print(f"{name}:")
    for module, functions in journey.legs():
        print(f"  {module}: {' > '.join(functions)}")
    print(f"\n{name}, calls by module:")
    for module, count in Counter(call.module for call in journey.calls).most_common():
        print(f"  {count:4} {module}")
    print(f"\n{name}, calls by function:")
    for call, count in Counter(journey.calls).most_common(25):
        print(f"  {count:4} {call.module} {call.function}")
    print()


def main(arguments: list[str]) -> int:
    """Trace the journeys and print the table; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks journeys", description=__doc__)
    parser.add_argument("--trace", action="store_true", help="print the way of each, call by call")
    parser.add_argument(
        "--of", type=Path, help="a checkout of another version, whose package is measured"
    )
    parser.add_argument(
        "--parser",
        action="store_true",
        help="count the test client's parser also, where that version has it outside of testing",
    )
    chosen = parser.parse_args(arguments)
    if chosen.of is not None:
        sys.path.insert(0, str(chosen.of))
    journeys = measure(parser=chosen.parser)
    show(journeys)
    if chosen.trace:
        for name, journey in journeys.items():
            show_way(name, journey)
    return 0
