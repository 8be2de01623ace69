"""The lobby in Datastar: the server sends the page's parts; the page has no JavaScript of its own.

    python examples/lobby_datastar/app.py --port 8010
    curl -N -H 'Datastar-Request: true' \\
         'http://127.0.0.1:8010/events?datastar=%7B%22name%22:%22brian%22,%22tab%22:%221%22%7D'

Any client may take any name here. An application with users takes the name from its session
instead, never from signals.
"""

import argparse
import asyncio
import secrets
from html import escape
from pathlib import Path

from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import ANY, DEFAULT_SCOPE, Hub, broadcast, hide, leave
from sfere_tornado.datastar.actions import (
    Datastar,
    patch_elements,
    patch_elements_seq,
    patch_signals,
    signals_json,
)
from sfere_tornado.datastar.handlers import DatastarHandler

HERE = Path(__file__).parent
CDN = "https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.1/bundles/datastar.js"
LOBBY = (ANY, ("lobby", ANY))
LONGEST_NAME, LONGEST_TEXT = 64, 4096

hub = Hub.from_yaml(HERE / "lobby.yaml", registries=[Datastar()])


def field(values, name, longest):
    """Return a text that came from a page, or answer 400 and say why."""
    value = values.get(name, "")
    if (
        not isinstance(value, str)
        or not value.strip()
        or len(value) > longest
        or not value.isprintable()
    ):
        raise HTTPError(400, reason=f"The {name} must have 1 to {longest} printable characters")
    return value


def members():
    """Return the list of members, away ones marked; text that users wrote goes through escape()."""
    items = ""
    for member in sorted(hub.presence.announced(LOBBY), key=lambda member: member.key.id):
        name, away = escape(member.key.id), ' class="away" title="away"' if member.away else ""
        items += (
            f'<li data-name="{name}" data-class:me="el.dataset.name === $name"{away}>{name}</li>'
        )
    # Replaced, not morphed, so that each page marks its own entry again.
    return patch_elements(f'<ul id="members">{items}</ul>', mode="replace")


def line(html):
    """Return the patch that adds a line to the talk."""
    return patch_elements(html, selector="#talk", mode="prepend")


def note(text):
    return line(f'<li class="note">{escape(text)}</li>')


@hub.on_presence
def tell(change):
    notes = [note(f"{change.key.id} {change.kind}")] if change.kind in {"joined", "left"} else []
    return broadcast(LOBBY, members(), *notes, exclude={change.key})


class Page(DatastarHandler):
    def get(self):
        name = self.get_argument("name", "")
        if not name:
            return self.render_string("door.html").decode()
        name = field({"name": name}, "name", LONGEST_NAME)
        first = {
            "name": name,
            "tab": secrets.token_urlsafe(9),
            "text": "",
            "state": "connecting",
            "_left": False,
        }
        return self.render_string("room.html", name=name, signals=signals_json(first)).decode()


class Member(DatastarHandler):
    """A request of a member's page; its signals carry the name and the tab."""

    def prepare(self):
        self.name = field(self.signals, "name", LONGEST_NAME)
        self.tab = field(self.signals, "tab", LONGEST_NAME)

    def connection_key(self):
        return ("lobby", self.name)


class Events(Member):
    def presence_meta(self):
        return {**super().presence_meta(), "tab": self.tab}

    def on_open(self, connection):
        return [patch_signals({"state": "connected"}), members()]

    def on_gap(self, connection, reason):
        self.dispatch(note("Some of what was said meanwhile is missing"))


class Say(Member):
    with_open_sse = True

    def post(self):
        text = field(self.signals, "text", LONGEST_TEXT)
        said = (
            f'<li class="said" data-author="{escape(self.name)}" data-class:mine="el.dataset.author === $name">'
            f"<b>{escape(self.name)}</b>{escape(text)}</li>"
        )
        return [broadcast(LOBBY, line(said)), patch_signals({"text": ""})]


class Hidden(Member):
    """Datastar closes the stream of a hidden tab, so the page reports that it is only hidden."""

    def post(self):
        self.dispatch(hide(tab=self.tab))


class Leave(Member):
    with_open_sse = True

    def post(self):
        left = '<p id="state">You have left. <a href="/">Come in again</a></p>'
        rest = [
            '<ul id="members"></ul>',
            '<form id="say" hidden></form>',
            '<button id="leave" hidden></button>',
        ]
        return [patch_elements_seq([left, *rest]), leave((DEFAULT_SCOPE, ("lobby", self.name)))]


class Script(RequestHandler):
    """Serve Datastar's script from here instead of from the CDN."""

    def get(self):
        self.set_header("Content-Type", "text/javascript")
        self.finish(Path(self.settings["datastar"]).read_bytes())


ROUTES = [
    ("/", Page),
    ("/events", Events),
    ("/say", Say),
    ("/hidden", Hidden),
    ("/leave", Leave),
]


async def main(port, script):
    settings = {
        "template_path": HERE,
        "datastar": script,
        "datastar_url": "/datastar.js" if script else CDN,
    }
    routes = [*ROUTES, ("/datastar.js", Script)] if script else ROUTES
    port = hub.listen(Application(routes, **settings), port)
    print(f"The lobby is open: http://127.0.0.1:{port}/", flush=True)
    await hub.run_until_signal(window=0, timeout=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--port", type=int, default=8010, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--datastar", metavar="FILE", help="serve this script instead of the one of the CDN"
    )
    arguments = parser.parse_args()
    asyncio.run(main(arguments.port, arguments.datastar))
