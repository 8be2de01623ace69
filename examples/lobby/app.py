"""The lobby: enter a name, see who is here, chat, leave.

When a tab is closed, the others read "brian left". When it is reloaded, they do not.

Try it::

    python3 run.py demo --port 8000
    curl -N 'http://127.0.0.1:8000/events?name=brian'

Any client may take any name here. An application with users takes the name from its session
instead, never from the request.
"""

import argparse
import asyncio
from pathlib import Path

from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import (
    ANY,
    DEFAULT_SCOPE,
    Hub,
    InterceptorMixin,
    ScriptHandler,
    SignHandler,
    SSEHandler,
    broadcast,
    leave,
    send,
)
from sfere_tornado.errors import ListenError

HERE = Path(__file__).parent
LOBBY = (ANY, ("lobby", ANY))
LONGEST_NAME, LONGEST_TEXT = 64, 4096

hub = Hub.from_yaml(HERE / "lobby.yaml")


def field(handler, name, longest):
    """Return a field of the request, or answer 400 and say why."""
    value = handler.get_argument(name, "")
    if not value:
        raise HTTPError(400, reason=f"The {name} must not be empty")
    if len(value) > longest:
        raise HTTPError(
            400, reason=f"The {name} must have at most {longest} characters, not {len(value)}"
        )
    return value


@hub.on_presence
def tell(change):
    said = {"name": change.key.id}
    if change.kind == "left":
        said["cause"] = "expired" if change.reason == "expired" else "explicit"
    return broadcast(LOBBY, send(said, event=change.kind), exclude={change.key})


class PlainErrors(RequestHandler):
    """Answers errors in plain text."""

    def write_error(self, status_code, **kwargs):
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._reason}\n")


class Page(RequestHandler):
    def get(self):
        policy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
        self.set_header("Content-Security-Policy", policy)
        self.finish((HERE / "index.html").read_text(encoding="utf-8"))


class Events(SSEHandler, PlainErrors):
    def prepare(self):
        self.name = field(self, "name", LONGEST_NAME)

    def connection_key(self):
        return ("lobby", self.name)

    def on_open(self, connection):
        members = hub.presence.announced(LOBBY)
        here = send({"members": sorted(member.key.id for member in members)}, event="here")
        return [
            here,
            *(send({"name": member.key.id}, event="away") for member in members if member.away),
        ]


class Signs(SignHandler):
    def connection_key(self):
        return ("lobby", field(self, "name", LONGEST_NAME))


class Message(InterceptorMixin, PlainErrors):
    def post(self):
        said = {
            "name": field(self, "name", LONGEST_NAME),
            "text": field(self, "text", LONGEST_TEXT),
        }
        self.dispatch(broadcast(LOBBY, send(said, event="message")))
        self.set_status(204)


class Leave(InterceptorMixin, PlainErrors):
    def post(self):
        self.dispatch(leave((DEFAULT_SCOPE, ("lobby", field(self, "name", LONGEST_NAME)))))
        self.set_status(204)


class Who(RequestHandler):
    def get(self):
        members = sorted(member.key.id for member in hub.presence.roster(LOBBY))
        self.finish({"members": members, "connections": hub.count(LOBBY)})


routes = [
    ("/", Page),
    ("/sfere.js", ScriptHandler),
    ("/events", Events),
    ("/signs", Signs),
    ("/message", Message),
    ("/leave", Leave),
    ("/who", Who),
]
app = Application(routes, sfere=hub)


async def main(port, address):
    where = f"http://{address}:{hub.listen(app, port, address)}/"
    # Printed in the next turn, when the signal handlers are set: a program that starts this one may
    # stop it as soon as it reads the line.
    asyncio.get_running_loop().call_soon(lambda: print("The lobby is open:", where, flush=True))
    await hub.run_until_signal(window=0, timeout=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--address", default="127.0.0.1", help="where to listen (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.port, arguments.address))
    except ListenError as error:
        parser.error(str(error))
