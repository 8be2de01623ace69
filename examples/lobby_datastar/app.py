"""The lobby in Datastar: the server sends the page's parts, and the page has no JavaScript of its own.

    python examples/lobby_datastar/app.py --port 8010
    curl -N 'http://127.0.0.1:8010/events?datastar=%7B%22name%22:%22brian%22%7D' -H 'Datastar-Request: true'

Anybody may take any name here. An application with users takes the name from its session instead, never from signals.
"""

import argparse
import asyncio
from contextlib import suppress
from html import escape
from pathlib import Path

from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import ANY, Hub, broadcast, close_sse
from sfere_tornado.registries.datastar import (
    datastar,
    patch_elements,
    patch_elements_seq,
    patch_signals,
    signals_json,
)
from sfere_tornado.web.datastar import DatastarHandler

HERE = Path(__file__).parent
CDN = "https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.1/bundles/datastar.js"
LOBBY = (ANY, ("lobby", ANY))
LONGEST_NAME, LONGEST_TEXT = 64, 4096

hub = Hub.from_yaml(HERE / "lobby.yaml", registries=[datastar()])


def field(values, name, longest):
    """Return a text that came from a page, or answer 400 and say why."""
    value = values.get(name, "")
    if not isinstance(value, str) or not value.strip():
        raise HTTPError(400, reason=f"The {name} must not be empty")
    if len(value) > longest:
        raise HTTPError(400, reason=f"The {name} must have at most {longest} characters")
    return value


def members():
    """Who is here, for every page. Whatever people wrote goes through escape()."""
    names = sorted(str(key.id) for key in hub.store.keys(LOBBY))
    items = "".join(f'<li data-name="{escape(name)}">{escape(name)}</li>' for name in names)
    return patch_elements(f'<ul id="members">{items}</ul>')


def line(html):
    """One more line in the talk."""
    return patch_elements(html, selector="#talk", mode="prepend")


def note(text):
    return line(f'<li class="note">{escape(text)}</li>')


@hub.on_evict
def left(key, connection, cause):
    hub.dispatch(broadcast(LOBBY, members(), note(f"{key.id} left")))


class Page(DatastarHandler):
    def get(self):
        name = self.get_argument("name", "")
        if not name:
            return self.render_string("door.html").decode()
        signals = signals_json({"name": field({"name": name}, "name", LONGEST_NAME), "text": "", "state": "connecting"})
        return self.render_string("room.html", name=name, signals=signals).decode()


class Member(DatastarHandler):
    """What a page in the room asks for; its signals say whose it is."""

    def prepare(self):
        self.name = field(self.signals, "name", LONGEST_NAME)

    def connection_key(self):
        return ("lobby", self.name)


class Events(Member):
    def on_open(self, connection):
        here = patch_signals({"state": "connected"})
        if len(hub.store.peek(connection.key)) > 1:  # a second tab of somebody who is here
            return [here, members()]
        joined = broadcast(LOBBY, members(), note(f"{self.name} joined"), exclude={connection.key})
        return [here, members(), joined]


class Say(Member):
    with_open_sse = True

    def post(self):
        text = field(self.signals, "text", LONGEST_TEXT)
        said = (
            f'<li class="said" data-author="{escape(self.name)}" data-class:mine="el.dataset.author === $name">'
            f"<b>{escape(self.name)}</b>{escape(text)}</li>"
        )
        return [broadcast(LOBBY, line(said)), patch_signals({"text": ""})]


class Leave(Member):
    with_open_sse = True

    def post(self):
        left = '<p id="state">You have left. <a href="/">Come in again</a></p>'
        return [patch_elements_seq([left, '<form id="say" hidden></form>']), close_sse()]


class Script(RequestHandler):
    """Datastar's own script, where it is served from here instead of from the CDN."""

    def get(self):
        self.set_header("Content-Type", "text/javascript")
        self.finish(Path(self.settings["datastar"]).read_bytes())


ROUTES = [("/", Page), ("/events", Events), ("/say", Say), ("/leave", Leave), ("/datastar.js", Script)]


async def main(port, script):
    settings = {"template_path": HERE, "datastar": script, "datastar_url": "/datastar.js" if script else CDN}
    port = hub.listen(Application(ROUTES, sfere=hub, **settings), port)
    print(f"The lobby is open: http://127.0.0.1:{port}/", flush=True)
    await hub.run_until_signal(window=0, timeout=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8010, help="0 takes any free one (default: %(default)s)")
    parser.add_argument("--datastar", metavar="FILE", help="serve this script instead of the one of the CDN")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(main(arguments.port, arguments.datastar))
