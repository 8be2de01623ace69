"""One stream, read by Datastar, by EventSource, and by htmx with its extension, versions 2 and 4, in a real Chromium."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
from support.browser import CHROMIUM, Browser
from support.datastar import MISSING as NO_DATASTAR
from support.datastar import SCRIPT
from support.htmx import MISSING as NO_HTMX
from support.htmx import SCRIPTS
from support.waiting import eventually
from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, HubConfig, StreamConfig, broadcast, close_sse, send
from sfere_tornado.config import HistoryConfig
from sfere_tornado.datastar.actions import Datastar, patch_elements
from sfere_tornado.datastar.handlers import DatastarHandler

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine; on Debian: apt install chromium"
    ),
]

EVERYBODY = (ANY, ("reader", ANY))

#: By reader, its page; each shows in #news what comes for it.
PAGES = {
    "datastar": """<script type="module" src="/scripts/datastar.js"></script>
        <div data-init="@get('/events?name=datastar')"></div><div id="news"></div>""",
    "event_source": """<div id="news"></div><script>
        const source = new EventSource("/events?name=event_source");
        source.addEventListener("news", (event) => { document.querySelector("#news").innerHTML = event.data; });
        </script>""",
    "htmx2": """<script src="/scripts/htmx-2.min.js"></script><script src="/scripts/ext/hx-sse-2.min.js"></script>
        <div hx-ext="sse" sse-connect="/events?name=htmx2" sse-close="closing">
        <div id="news" sse-swap="news"></div></div>""",
    "htmx4": """<script src="/scripts/htmx-4.min.js"></script><script src="/scripts/ext/hx-sse-4.min.js"></script>
        <div id="news" hx-sse:connect="/events?name=htmx4" hx-sse:close="closing"></div>
        <i id="named"></i>
        <script>
        document.addEventListener("news", (event) => { document.querySelector("#named").innerHTML = event.detail.data; });
        </script>""",
}

needs = {
    "datastar": pytest.mark.skipif(SCRIPT is None, reason=NO_DATASTAR),
    "event_source": (),
    "htmx2": pytest.mark.skipif(SCRIPTS is None, reason=NO_HTMX),
    "htmx4": pytest.mark.skipif(SCRIPTS is None, reason=NO_HTMX),
}
READERS = [pytest.param(name, marks=needs[name]) for name in PAGES]


class Page(RequestHandler):
    def get(self, name):
        self.finish(
            f'<!doctype html><title>page</title><link rel="icon" href="data:,"><body>{PAGES[name]}</body>'
        )


class Script(RequestHandler):
    def get(self, name):
        self.set_header("Content-Type", "text/javascript")
        self.finish((SCRIPT if name == "datastar.js" else SCRIPTS / name).read_bytes())


class Events(DatastarHandler):
    def connection_key(self):
        return ("reader", self.get_query_argument("name"))

    def get(self):
        # Effects that a method returns, not only the inherited stream: every reader must be known as one.
        return send("nothing for anybody", event="welcome")


class Reading:
    """The application of this process, and one page of it in a browser."""

    def __init__(self, serve, name):
        self.name = name
        config = HubConfig(stream=StreamConfig(retry=0.1), history=HistoryConfig())
        self.hub = Hub(config, registries=[Datastar()])
        routes = [("/events", Events), ("/scripts/(.*)", Script), ("/(.*)", Page)]
        self.url = serve(Application(routes, sfere=self.hub))

    async def __aenter__(self):
        self.browser = await Browser().__aenter__()
        self.page = await self.browser.browser.contexts[0].new_page()
        self.problems = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        await self.page.goto(f"{self.url}/{self.name}")
        await self.there()
        return self

    async def __aexit__(self, *error):
        await self.browser.__aexit__(*error)

    async def there(self):
        await eventually(lambda: self.hub.store.count(EVERYBODY) == 1)

    def tell(self, html):
        """Send the same news to every kind of reader."""
        told = [patch_elements(f'<div id="news">{html}</div>')] if self.name == "datastar" else []
        # To htmx 4 what has no name is what it swaps in; whoever has the name has what is shown already.
        effects = [send(html, event="news"), *told, *([send(html)] if self.name == "htmx4" else [])]
        self.hub.dispatch(broadcast(EVERYBODY, *effects))

    async def shows(self, text, selector="#news"):
        await self.page.wait_for_function(
            "([s, wanted]) => document.querySelector(s).textContent === wanted",
            arg=[selector, text],
            timeout=10_000,
        )


@pytest.mark.parametrize("name", READERS)
@pytest.mark.gen_test(timeout=60)
async def test_the_same_stream_for_every_reader(serve, name):
    """News of several lines arrive, with what is not for a reader passing it by; cut, it comes back and has missed nothing."""
    async with Reading(serve, name) as reading:
        reading.tell("<b>one</b>\n\n<p>data: two</p>")
        await reading.shows("one\n\ndata: two")
        reading.tell("<b>first</b>")
        await reading.shows("first")
        if name == "htmx4":
            await reading.shows("first", "#named")
        [stream] = reading.hub.streams
        stream.close(reconnect=True)
        # The page is away for at least the hundred milliseconds that it was told.
        await eventually(lambda: not reading.hub.streams)
        reading.tell("<b>missed</b>")
        await reading.there()
        await reading.shows("missed")
        reading.tell("<b>live</b>")
        await reading.shows("live")
        assert reading.problems == []


@pytest.mark.parametrize("name", READERS)
@pytest.mark.gen_test(timeout=60)
async def test_a_stream_that_is_ended_stays_ended(serve, name):
    """After close_sse Datastar and EventSource stay away; htmx is told by an event of its own, which its page names."""
    async with Reading(serve, name) as reading:
        reading.hub.dispatch(broadcast(EVERYBODY, send("for good", event="closing"), close_sse()))
        await eventually(lambda: not reading.hub.streams)
        # Several times the time after which a cut brings each of them back.
        await reading.page.wait_for_timeout(1500)
        assert not reading.hub.streams
        assert reading.problems == []


GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "datastar.rst"

#: What a page needs around the piece of HTML that the guide shows for it.
AROUND = {
    "event_source": """<ul></ul><script>
        const show = (html) => document.querySelector("ul").insertAdjacentHTML("beforeend", html);</script>""",
    "htmx2": """<script src="/scripts/htmx-2.min.js"></script><script src="/scripts/ext/hx-sse-2.min.js"></script>""",
    "htmx4": """<script src="/scripts/htmx-4.min.js"></script><script src="/scripts/ext/hx-sse-4.min.js"></script>""",
}


def shown_in_the_guide():
    """Return the pieces of HTML that the guide shows for each kind of reader."""
    blocks = re.findall(
        r"^\.\. code-block:: text\n\n((?:    .*\n|\n)+)", GUIDE.read_text(), re.MULTILINE
    )
    _hidden, *pieces = (dedent(block) for block in blocks if block.strip().startswith("<"))
    return dict(zip(AROUND, pieces, strict=True))


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs[name]) for name in AROUND])
@pytest.mark.gen_test(timeout=60)
async def test_what_the_guide_shows(serve, name, monkeypatch):
    """The HTML of the guide, as it stands there, appends what is broadcast for all kinds of readers, each item once."""
    piece = shown_in_the_guide()[name].replace('"/events"', f'"/events?name={name}"')
    monkeypatch.setitem(PAGES, name, AROUND[name] + piece)
    async with Reading(serve, name) as reading:
        for n in range(3):
            html = f"<li>{n}</li>"
            patch = patch_elements(html, selector="#news", mode="append")
            reading.hub.dispatch(broadcast(EVERYBODY, patch, send(html, event="news"), send(html)))
        await reading.shows("012", "ul")
        assert await reading.page.locator("ul li").count() == 3
        assert reading.problems == []


@needs["htmx4"]
@pytest.mark.gen_test(timeout=60)
async def test_htmx_4_comes_back_after_every_end(serve):
    """Without an event that closes it, htmx 4 takes a clean end for a break; so that event is what the guide asks for."""
    async with Reading(serve, "htmx4") as reading:
        [first] = reading.hub.streams
        reading.hub.dispatch(broadcast(EVERYBODY, close_sse()))
        await eventually(lambda: reading.hub.streams and first not in reading.hub.streams)


@needs["datastar"]
@pytest.mark.gen_test(timeout=60)
async def test_a_page_begins_where_it_was_rendered(serve, monkeypatch):
    """With the hub's cursor in the address of its stream, a page of Datastar's gets what has happened since."""
    page = PAGES["datastar"]
    reading = Reading(serve, "datastar")
    query = f"name=datastar&last_event_id={reading.hub.history.cursor()}"
    monkeypatch.setitem(PAGES, "datastar", page.replace("name=datastar", query))
    reading.tell("<b>between</b>")
    async with reading:
        await reading.shows("between")
