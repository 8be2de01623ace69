"""Datastar's real script in a real Chromium: every kind of patch, the lobby, and the other examples."""

import asyncio
import json
from html import escape, unescape
from urllib.parse import quote

import pytest
from support.browser import CHROMIUM, Browser
from support.datastar import MISSING, SCRIPT, Example
from support.waiting import eventually
from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, HubConfig, StreamConfig, broadcast, close_sse
from sfere_tornado.config import HistoryConfig
from sfere_tornado.datastar.actions import (
    Datastar,
    execute_script,
    patch_elements,
    patch_elements_seq,
    patch_signals,
    remove_elements,
    signals_json,
)
from sfere_tornado.datastar.handlers import DatastarHandler

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine; on Debian: apt install chromium"
    ),
    pytest.mark.skipif(SCRIPT is None, reason=MISSING),
]

AWKWARD = "<b>'\"&amp;&lt;/script&gt;\u2028\u2029\x85\x0b\ufeff  data: elements\n\nevent: x\n  </b>"
NAME = "<img src=x onerror=document.title='!'> $name @post('/leave')"


#: Says to a page what a browser says when another tab comes in front of it; headless ones have no front.
HIDE = """(hidden) => {
    Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
}"""


class Script(RequestHandler):
    def get(self):
        self.set_header("Content-Type", "text/javascript")
        self.finish(SCRIPT.read_bytes())


class Page(RequestHandler):
    def get(self):
        self.finish(
            f"""<!doctype html><title>page</title><link rel="icon" href="data:,"><script type="module" src="/datastar.js"></script>
            <body data-signals='{signals_json({"kept": 1, "gone": 1, "name": NAME})}' data-init="@get('/events')">
            <ul id="list"><li id="a">a</li><li id="b">b</li></ul><svg id="drawing"></svg>
            <i id="kept" data-text="$kept"></i><i id="gone" data-text="'gone' in $ ? 'here' : 'gone'"></i>
            <i id="late" data-text="$late ?? ''"></i><i id="name" data-text="$name"></i>
            <button id="fail" data-on:click="@post('/fail')">fail</button>
            <button id="ask" data-on:click="@post('/ask')">ask</button></body>"""
        )


class Events(DatastarHandler):
    def connection_key(self):
        return ("page", "brian")


class Ask(Events):
    def post(self):
        return patch_signals({"kept": self.signals["kept"] + 1})


class Fail(Events):
    def post(self):
        raise ZeroDivisionError("a secret")


class Open:
    """An application of this process, and a page of it in a browser."""

    def __init__(self, serve, **config):
        self.hub = Hub(HubConfig(stream=StreamConfig(retry=0.1), **config), registries=[Datastar()])
        routes = [
            ("/", Page),
            ("/events", Events),
            ("/ask", Ask),
            ("/fail", Fail),
            ("/datastar.js", Script),
        ]
        self.url = serve(Application(routes, sfere=self.hub)) + "/"

    async def __aenter__(self):
        self.browser = await Browser().__aenter__()
        self.page = await self.browser.browser.contexts[0].new_page()
        self.problems = []
        self.page.on(
            "console", lambda said: self.problems.append(said.text) if said.type != "log" else None
        )
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        await self.page.goto(self.url)
        await eventually(lambda: self.hub.store.count() == 1)
        return self

    async def __aexit__(self, *error):
        await self.browser.__aexit__(*error)

    def send(self, *effects):
        assert self.hub.dispatch(broadcast((ANY, ANY), *effects)).results[0].value.errors == []

    async def shows(self, script, expected):
        """Wait until an expression has a value in the page."""
        await self.page.wait_for_function(
            "([code, wanted]) => JSON.stringify(eval(code)) === JSON.stringify(wanted)",
            arg=[script, expected],
        )


@pytest.mark.gen_test(timeout=120)
async def test_every_patch_arrives(serve):
    """All modes, both other namespaces, removal, emptying and several elements at once do in the page what they say."""
    items = "[...document.querySelectorAll('#list li')].map((item) => item.textContent)"
    async with Open(serve) as there:
        there.send(patch_elements("<li id=a>A</li>"))
        await there.shows(items, ["A", "b"])
        there.send(patch_elements("<li id=b>B</li>", mode="replace"))
        await there.shows(items, ["A", "B"])
        there.send(patch_elements("<li>1</li>", selector="#list", mode="prepend"))
        there.send(
            patch_elements_seq(["<li>8</li>", "<li>9</li>"], selector="#list", mode="append")
        )
        await there.shows(items, ["1", "A", "B", "8", "9"])
        there.send(patch_elements("<li>2</li>", selector="#a", mode="before"))
        there.send(
            patch_elements("<li>3</li>", selector="#a", mode="after", use_view_transition=True)
        )
        await there.shows(items, ["1", "2", "A", "3", "B", "8", "9"])
        there.send(remove_elements("#a, #b"))
        await there.shows(items, ["1", "2", "3", "8", "9"])
        there.send(patch_elements("<li>new</li>", selector="#list", mode="inner"))
        await there.shows(items, ["new"])
        there.send(patch_elements("", selector="#list", mode="inner"))
        await there.shows(items, [])
        there.send(
            patch_elements('<circle r="1"/>', selector="#drawing", mode="append", namespace="svg")
        )
        await there.shows(
            "document.querySelector('#drawing circle')?.namespaceURI", "http://www.w3.org/2000/svg"
        )
        there.send(
            patch_elements("<mn>1</mn>", selector="#list", mode="append", namespace="mathml")
        )
        await there.shows(
            "document.querySelector('mn')?.namespaceURI", "http://www.w3.org/1998/Math/MathML"
        )
        assert there.problems == []


@pytest.mark.gen_test(timeout=120)
async def test_awkward_html_arrives_unchanged(serve):
    """Line separators of other standards, blank lines, quotes and lines that look like the protocol reach the page as text."""
    async with Open(serve) as there:
        there.send(patch_elements(f"<pre>x{AWKWARD}</pre>", selector="#list", mode="inner"))
        await there.shows("document.querySelector('#list b') !== null", True)
        expected = unescape(AWKWARD.removeprefix("<b>").removesuffix("</b>"))
        assert (
            await there.page.locator("#list pre").evaluate("(pre) => pre.textContent.slice(1)")
            == expected
        )
        there.send(patch_elements("<pre>one\r\ntwo\rthree</pre>", selector="#list", mode="inner"))
        await there.shows("document.querySelector('#list pre').textContent", "one\ntwo\nthree")
        # In an attribute, in text and in a script of the HTML itself, whose end is its end.
        title = "a\"b'c\u2028d\u2029\ndata: elements\n\nevent: x"
        html = f'<p title="{escape(title)}">{escape("</script></p>")}</p><script>window.own = "<!-- <b>"</script><i>after</i>'
        there.send(patch_elements(html, selector="#list", mode="inner"))
        await there.shows("window.own", "<!-- <b>")
        assert await there.page.get_attribute("#list p", "title") == title
        assert await there.page.text_content("#list p") == "</script></p>"
        assert await there.page.text_content("#list i") == "after"
        there.send(execute_script(f"window.said = {json.dumps(title + '</script><!-- <script>')}"))
        await there.shows("window.said", title + "</script><!-- <script>")
        assert there.problems == []


@pytest.mark.gen_test(timeout=120)
async def test_whatever_is_sent_is_shown(serve):
    """Many texts of awkward characters, each sent as an element, as a signal and in a script, are the same in the page."""
    signs = [
        "\r\n",
        "\n",
        "\n\n",
        " ",
        "  ",
        "\t",
        "\u2028",
        "\u2029",
        "\x85",
        "\x0b",
        "\x0c",
        "\x1c",
        "\ufeff",
        "\u00a0",
        "é",
        "\U0001f600",
    ]
    signs += [
        "</script>",
        "</pre>",
        "<!--",
        "-->",
        "]]>",
        "'",
        '"',
        "`",
        "${x}",
        "\\",
        "&amp;",
        "$kept",
        "@get('/x')",
        "data: x",
        "event: y",
    ]
    texts = ["".join(signs), *(f"a{one}b" for one in signs), *(f"{one}a{one}" for one in signs)]
    async with Open(serve) as there:
        for text in texts:
            there.send(
                patch_elements(f'<p id="kept" title="{escape(text)}">{escape(text)}</p>'),
                patch_signals({"name": text}),
                execute_script(f"window.said = {json.dumps(text)}"),
            )
            # HTML has no other line end than LF; JSON has them all.
            shown = text.replace("\r\n", "\n")
            await there.shows(
                "[window.said, document.querySelector('#name').textContent]", [text, text]
            )
            found = "[...document.querySelectorAll('#kept')].map((p) => [p.textContent, p.title])"
            await there.shows(found, [[shown, shown]])
        assert there.problems == []


@pytest.mark.gen_test(timeout=120)
async def test_what_was_missed_is_patched_in(serve):
    """Of a category that is kept, a page that was cut, or hidden, gets each patch that it has missed, in order, once."""
    items = "[...document.querySelectorAll('#list li')].map((item) => item.textContent)"

    def item(n):
        return patch_elements(f"<li>{n}</li>", selector="#list", mode="append"), patch_signals(
            {"late": n}
        )

    async with Open(serve, history=HistoryConfig()) as there:
        there.send(*item(1))
        await there.shows(items, ["a", "b", "1"])
        [first] = there.hub.streams
        first.close(reconnect=True)
        await eventually(lambda: not there.hub.streams)
        there.send(*item(2))
        there.send(*item(3))
        await eventually(lambda: there.hub.streams)
        there.send(*item(4))
        await there.shows(items, ["a", "b", "1", "2", "3", "4"])
        await there.page.evaluate(HIDE, True)
        await eventually(lambda: not there.hub.streams)
        there.send(*item(5))
        await there.page.evaluate(HIDE, False)
        await there.shows(items, ["a", "b", "1", "2", "3", "4", "5"])
        await there.shows("document.querySelector('#late').textContent", "5")
        there.send(*item(6))
        await there.shows(items, ["a", "b", "1", "2", "3", "4", "5", "6"])


@pytest.mark.gen_test(timeout=120)
async def test_signals_arrive(serve):
    """Signals are changed, added, left alone and removed; what was a name with markup and an action stayed a name."""
    async with Open(serve) as there:
        await there.shows("document.querySelector('#name').textContent", NAME)
        there.send(patch_signals({"kept": 2, "late": AWKWARD}))
        await there.shows("document.querySelector('#kept').textContent", "2")
        await there.shows("document.querySelector('#late').textContent", AWKWARD)
        there.send(
            patch_signals({"kept": 3}, only_if_missing=True), patch_signals('{\n"late":\n"text"\n}')
        )
        await there.shows("document.querySelector('#late').textContent", "text")
        assert await there.page.text_content("#kept") == "2"
        there.send(patch_signals({"gone": None}))
        await there.shows("document.querySelector('#gone').textContent", "gone")
        await there.page.click("#ask")
        await there.shows("document.querySelector('#kept').textContent", "3")
        assert await there.page.title() == "page"
        assert there.problems == []


@pytest.mark.gen_test(timeout=120)
async def test_scripts_run(serve):
    """A script runs once and is gone, or stays with its attributes; no end tag or comment in it breaks out of it."""
    async with Open(serve) as there:
        there.send(execute_script("window.first = document.querySelectorAll('script').length"))
        await there.shows("window.first", 2)
        await there.shows("document.querySelectorAll('script').length", 1)
        attributes = {"data-said": '"quoted" & <signed>\n', "type": "module", "defer": True}
        there.send(
            execute_script(
                "// a comment\nwindow.second = 2", auto_remove=False, attributes=attributes
            )
        )
        await there.shows("window.second", 2)
        assert (
            await there.page.get_attribute("body > script", "data-said") == attributes["data-said"]
        )
        for n, end in enumerate(["</script><b>", "</SCRIPT >", "</body></html>", "<!-- <script>"]):
            there.send(execute_script(f'window.end = [{n}, "{end}"]'))
            await there.shows("window.end", [n, end])
        assert await there.page.locator("body > b").count() == 0
        assert there.problems == []


@pytest.mark.gen_test(timeout=120)
async def test_a_method_that_raises_changes_nothing_in_the_page(serve, caplog):
    """The page stays as it is and its stream goes on; it has learnt the status and nothing else."""
    async with Open(serve) as there:
        before = await there.page.content()
        async with there.page.expect_response("**/fail") as answered:
            await there.page.click("#fail")
        assert (await answered.value).status == 500
        assert await there.page.content() == before
        there.send(patch_signals({"kept": 7}))
        await there.shows("document.querySelector('#kept').textContent", "7")


@pytest.mark.gen_test(timeout=120)
async def test_what_brings_a_page_back(serve):
    """A page whose stream is cut comes back by itself; one whose stream is ended stays away; a hidden one goes meanwhile."""
    async with Open(serve) as there:
        [first] = there.hub.streams
        first.close(reconnect=True)
        await eventually(lambda: there.hub.store.count() == 1 and first not in there.hub.streams)
        await there.page.evaluate(HIDE, True)
        await eventually(lambda: there.hub.store.count() == 0)
        await there.page.evaluate(HIDE, False)
        await eventually(lambda: there.hub.store.count() == 1)
        there.send(patch_signals({"kept": 5}))
        await there.shows("document.querySelector('#kept').textContent", "5")
        there.send(close_sse())
        await eventually(lambda: not there.hub.streams)
        # Thrice the time after which the first cut brought it back.
        await asyncio.sleep(0.6)
        assert there.hub.store.count() == 0


async def texts(page, selector):
    return await page.locator(selector).all_text_contents()


async def wait_text(page, selector, expected):
    """Wait until the elements of a selector have these texts."""
    await page.wait_for_function(
        "([s, wanted]) => JSON.stringify([...document.querySelectorAll(s)].map((e) => e.textContent)) === "
        "JSON.stringify(wanted)",
        arg=[selector, expected],
    )


async def enter(browser, url, name):
    page = await browser.tab(f"{url}/?name={quote(name)}")
    await page.wait_for_function(
        "document.querySelector('#state span').textContent === 'connected'"
    )
    return page


@pytest.mark.gen_test(timeout=120)
async def test_the_lobby():
    """Two tabs talk; one is closed and the other reads it after two seconds; a name with markup is text; leaving is for good."""
    async with Example("lobby_datastar") as lobby, Browser() as browser:
        door = await browser.tab(lobby.url)
        await door.fill("input", "brian")
        await door.press("input", "Enter")
        await wait_text(door, "#members li", ["brian"])
        phil = await enter(browser, lobby.url, "phil")
        await wait_text(door, "#talk li", ["phil joined"])
        await door.fill("#say input", "hello <b>phil</b> $name")
        await door.press("#say input", "Enter")
        for page, mine in ((door, 1), (phil, 0)):
            await page.wait_for_selector("#talk .said")
            assert await texts(page, "#talk .said") == ["brianhello <b>phil</b> $name"]
            assert await page.locator("#talk .mine").count() == mine
        await door.wait_for_function("document.querySelector('#say input').value === ''")

        await door.close()
        await wait_text(phil, "#members li", ["phil"])
        assert (await texts(phil, "#talk li"))[0] == "brian left"
        assert await texts(phil, "#members .me") == ["phil"]

        stranger = await enter(browser, lobby.url, NAME)
        await wait_text(phil, "#members li", sorted([NAME, "phil"]))
        assert (await texts(phil, "#talk li"))[0] == f"{NAME} joined"
        assert (
            await phil.locator("main img").count()
            == await stranger.locator("main img").count()
            == 0
        )
        assert await phil.title() == await stranger.title() == "The lobby"

        await stranger.click("button.quiet")
        await stranger.wait_for_selector("text=You have left")
        await wait_text(phil, "#members li", ["phil"])
    assert lobby.log == b""


@pytest.mark.gen_test(timeout=120)
async def test_what_leaves_no_trace_in_the_lobby():
    """A reload and a second tab are told to nobody; a hidden tab is away, reads what it has missed, and is back."""
    async with Example("lobby_datastar") as lobby, Browser() as browser, Browser() as other:
        phil = await enter(other, lobby.url, "phil")
        brian = await enter(browser, lobby.url, "brian")
        await wait_text(phil, "#talk li", ["brian joined"])
        await brian.reload()
        await brian.wait_for_function(
            "document.querySelector('#state span').textContent === 'connected'"
        )
        second = await enter(browser, lobby.url, "brian")

        # One of two tabs is hidden: somebody still looks.
        await brian.evaluate(HIDE, True)
        await phil.fill("#say input", "one")
        await phil.press("#say input", "Enter")
        await second.wait_for_selector("#talk .said")
        assert await phil.locator("#members .away").count() == 0
        await second.evaluate(HIDE, True)
        await wait_text(phil, "#members .away", ["brian"])
        await phil.fill("#say input", "two")
        await phil.press("#say input", "Enter")
        await wait_text(phil, "#talk .said", ["philtwo", "philone"])
        assert await texts(brian, "#talk .said") == []

        await brian.evaluate(HIDE, False)
        await wait_text(brian, "#talk .said", ["philtwo", "philone"])
        await wait_text(phil, "#members .away", [])
        await second.evaluate(HIDE, False)
        await wait_text(second, "#talk .said", ["philtwo", "philone"])
        await second.close()
        # Longer than the two seconds after which a closed tab is told as left.
        await phil.wait_for_timeout(2500)
        assert await texts(phil, "#talk .note") == ["brian joined"]
        assert await texts(phil, "#members li") == ["brian", "phil"]
        assert await texts(brian, "#members .me") == ["brian"]
    assert lobby.log == b""


@pytest.mark.gen_test(timeout=120)
async def test_the_lobby_comes_back_by_itself():
    """The server ends and starts again: the pages say so, come back, and go on, without anybody's help."""
    async with Example("lobby_datastar") as lobby, Browser() as browser:
        brian = await enter(browser, lobby.url, "brian")
        phil = await enter(browser, lobby.url, "phil")
        await lobby.stop()
        await brian.wait_for_function(
            "document.querySelector('#state').textContent.includes('coming back')"
        )
        await lobby.start()
        for page in (brian, phil):
            await wait_text(page, "#members li", ["brian", "phil"])
            await page.wait_for_function(
                "document.querySelector('#state span').textContent === 'connected'"
            )
        await phil.fill("#say input", "still there")
        await phil.press("#say input", "Enter")
        await brian.wait_for_selector("#talk .said")
    assert lobby.log == b""


@pytest.mark.gen_test(timeout=120)
async def test_the_dashboard():
    """Numbers and curve are alive, and every page sees how many there are."""
    async with Example("dashboard_datastar") as dashboard, Browser() as browser:
        first = await browser.tab(dashboard.url)
        await wait_text(first, "#pages", ["1"])
        second = await browser.tab(dashboard.url)
        await wait_text(first, "#pages", ["2"])
        before = await first.text_content("#sent")
        await first.wait_for_function(
            "(before) => document.querySelector('#sent').textContent !== before", arg=before
        )
        await second.wait_for_function(
            "document.querySelector('polyline').getAttribute('points').length > 100"
        )
        await second.close()
        await wait_text(first, "#pages", ["1"])
    assert dashboard.log == b""


@pytest.mark.gen_test(timeout=120)
async def test_the_job():
    """An ordinary form starts a job; a reload meanwhile goes on where it is, and one afterwards shows the result."""
    async with Example("job_progress") as job, Browser() as browser:
        page = await browser.tab(job.url)
        await page.fill("input", NAME)
        await page.press("input", "Enter")
        await page.wait_for_selector("#job .bar")
        await page.wait_for_function(
            "Number(document.querySelector('.bar').ariaValueNow ?? 0) >= 10"
        )
        await page.reload()
        await page.wait_for_function(
            "Number(document.querySelector('.bar')?.getAttribute('aria-valuenow') ?? 0) >= 10"
        )
        for _ in range(2):
            await page.wait_for_selector("#job >> text=All counted")
            assert await page.text_content("#job h1") == f"{NAME}: 50"
            await page.reload()
        assert await page.locator("main img").count() == 0
    assert job.log == b""


@pytest.mark.gen_test(timeout=120)
async def test_the_streaming_text():
    """An answer is written word by word, and ends where it is stopped; then another question may be asked."""
    async with Example("streaming_text") as text, Browser() as browser:
        page = await browser.tab(text.url)
        await page.fill("input", NAME)
        await page.press("input", "Enter")
        await page.wait_for_function("document.querySelectorAll('#answer span').length > 5")
        assert f"You ask: {NAME} " in await page.text_content("#answer")
        await page.click("#stop")
        await page.wait_for_selector("#stop", state="hidden")
        stopped = await page.locator("#answer span").count()
        # Several words' time.
        await asyncio.sleep(0.3)
        assert await page.locator("#answer span").count() == stopped < 100
        await page.fill("input", "And now?")
        await page.press("input", "Enter")
        await page.wait_for_function(
            "document.querySelector('#answer').textContent.startsWith('You ask: And now?')"
        )
        await page.wait_for_function("document.querySelectorAll('#answer span').length === 124")
        await page.wait_for_selector("#stop", state="hidden")
        assert await page.locator("main img").count() == 0
    assert text.log == b""
