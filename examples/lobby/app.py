"""The lobby: enter a name, see who is here, chat, leave. Close a tab, and the others read "brian left" at once.

    python3 run.py demo --port 8000
    curl -N 'http://127.0.0.1:8000/events?name=brian'

Anybody may take any name here. An application with users takes the name from its session instead, never from the request.
"""

import argparse
import asyncio
from contextlib import suppress
from pathlib import Path

from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import ANY, DEFAULT_SCOPE, Hub, InterceptorMixin, SSEHandler, broadcast, send

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
        raise HTTPError(400, reason=f"The {name} must have at most {longest} characters, not {len(value)}")
    return value


def members():
    return sorted(key.id for key in hub.store.keys(LOBBY))


@hub.on_evict
def left(key, connection, cause):
    hub.dispatch(broadcast(LOBBY, send({"name": key.id, "cause": cause}, event="left")))


class PlainErrors(RequestHandler):
    """Says in plain text what was wrong."""

    def write_error(self, status_code, **kwargs):
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{self._reason}\n")


class Page(RequestHandler):
    def get(self):
        self.set_header(
            "Content-Security-Policy", "default-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
        )
        self.finish((HERE / "index.html").read_text(encoding="utf-8"))


class Events(SSEHandler, PlainErrors):
    def prepare(self):
        self.name = field(self, "name", LONGEST_NAME)

    def connection_key(self):
        return ("lobby", self.name)

    def on_open(self, connection):
        here = send({"members": members()}, event="here")
        joined = broadcast(LOBBY, send({"name": self.name}, event="joined"), exclude={connection.key})
        second_tab = len(hub.store.peek(connection.key)) > 1
        return [here] if second_tab else [here, joined]


class Message(InterceptorMixin, PlainErrors):
    def post(self):
        said = {"name": field(self, "name", LONGEST_NAME), "text": field(self, "text", LONGEST_TEXT)}
        self.dispatch(broadcast(LOBBY, send(said, event="message")))
        self.set_status(204)


class Leave(PlainErrors):
    def post(self):
        hub.store.purge((DEFAULT_SCOPE, ("lobby", field(self, "name", LONGEST_NAME))))
        self.set_status(204)


class Who(RequestHandler):
    def get(self):
        self.finish({"members": members(), "connections": hub.store.count(LOBBY)})


routes = [("/", Page), ("/events", Events), ("/message", Message), ("/leave", Leave), ("/who", Who)]
app = Application(routes, sfere=hub)


async def main(port, address):
    print(f"The lobby is open: http://{address}:{hub.listen(app, port, address)}/", flush=True)
    await hub.run_until_signal(window=0, timeout=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--address", default="127.0.0.1", help="where to listen (default: %(default)s)")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(main(arguments.port, arguments.address))
