"""The shipped script in a real Chromium: which tab it is, who looks at it, and how it goes."""

import pytest
from support.browser import CHROMIUM, Browser
from support.lobby import Lobby, Signs
from support.waiting import eventually
from tornado.web import RequestHandler

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine; on Debian: apt install chromium"
    ),
]

PAGE = """<!doctype html><title>A page</title><script type="module">
import { connect } from "/sfere.js";
window.connect = connect;
window.said = [];
window.stream = connect("/events?name=ann", %s);
stream.addEventListener("said", (event) => said.push(event.data));
</script>"""


class Pages:
    """A lobby whose pages use the script with given options."""

    def __init__(self, serve):
        self.signs = []
        signs = self.signs

        class Noted(Signs):
            def post(self):
                signs.append((self.get_body_argument("sign"), self.get_body_argument("tab")))
                super().post()

        class Rendered(RequestHandler):
            def get(self):
                options = self.get_query_argument("options", '{ signs: "/noted?name=ann" }')
                self.finish(
                    PAGE
                    % options.replace("CURSOR", self.application.settings["sfere"].history.cursor())
                )

        self.lobby = Lobby(routes=[("/page", Rendered), ("/noted", Noted)])
        self.lobby.url = serve(self.lobby.app)

    async def tab(self, browser, options=""):
        """Open a page; returns it when its stream is open."""
        before = self.lobby.hub.store.count()
        page = await browser.tab(f"{self.lobby.url}/page{options and '?options=' + options}")
        await eventually(lambda: self.lobby.hub.store.count() > before)
        await page.wait_for_function("() => window.stream && window.stream.readyState === 1")
        return page

    def tabs(self):
        """Return the ids of the tabs that the room knows."""
        return [meta.tab for member in self.lobby.hub.presence.roster() for meta in member.metas]

    def kinds(self):
        return [kind for kind, *_ in self.lobby.changes]


async def set_hidden(page, *, hidden):
    """Say to the page what a browser says when another tab comes in front; one that is driven has no front."""
    await page.evaluate(
        "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        hidden,
    )


@pytest.fixture
def pages(serve):
    return Pages(serve)


@pytest.mark.gen_test(timeout=60)
async def test_a_tab_is_the_same_after_a_reload_and_no_other(pages):
    """The id of a tab survives its reloads, also to another page; another tab has another one."""
    async with Browser() as browser:
        first = await pages.tab(browser)
        (tab,) = pages.tabs()
        assert len(tab) == 24
        assert await first.evaluate("stream.tab") == tab
        for _ in range(3):
            connection = next(iter(pages.lobby.hub.streams))
            await first.reload()
            await eventually(lambda: connection.closed and pages.lobby.hub.store.count() == 1)  # noqa: B023  # awaited here
            assert pages.tabs() == [tab]
        second = await pages.tab(browser)
        assert len(set(pages.tabs())) == 2
        assert await second.evaluate("stream.tab") == pages.tabs()[1]
        pages.lobby.pass_time(100)
        assert pages.kinds() == ["joined"]
        assert pages.signs == []


@pytest.mark.gen_test(timeout=60)
async def test_streams_of_one_page_may_be_different_tabs(pages):
    """One key gives one id however often it is used; another key gives another."""
    async with Browser() as browser:
        page = await pages.tab(browser)
        ids = await page.evaluate(
            """() => ["sfere-tab", "other", "other"].map((key) => {
                const made = connect("/events?name=ann", { key });
                made.close();
                return made.tab;
            })"""
        )
        assert ids == [await page.evaluate("stream.tab"), ids[1], ids[1]]
        assert ids[0] != ids[1]


@pytest.mark.gen_test(timeout=60)
async def test_without_storage_a_tab_is_a_page(pages):
    """Where the browser forbids storage the stream opens all the same, with an id of the page alone."""
    async with Browser() as browser:
        page = await browser.browser.contexts[0].new_page()
        await page.add_init_script(
            "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('forbidden'); } })"
        )
        await page.goto(f"{pages.lobby.url}/page")
        await eventually(lambda: len(pages.tabs()) == 1)
        assert len(pages.tabs()[0]) == 24


@pytest.mark.gen_test(timeout=60)
async def test_hidden_and_visible(pages):
    """A tab behind another is away, one in front is back; one that comes back from a cut while hidden was never back."""
    async with Browser() as browser:
        page = await pages.tab(browser)
        tab = await page.evaluate("stream.tab")
        await set_hidden(page, hidden=True)
        await eventually(lambda: pages.lobby.state("ann") == "away")
        await set_hidden(page, hidden=False)
        await eventually(lambda: pages.lobby.state("ann") == "here")
        assert pages.signs == [("hidden", tab), ("visible", tab)]
        assert pages.kinds() == ["joined", "away", "back"]
        await set_hidden(page, hidden=True)
        await eventually(lambda: pages.lobby.state("ann") == "away")
        next(iter(pages.lobby.hub.streams)).close()
        await eventually(
            lambda: [sign for sign, _ in pages.signs] == ["hidden", "visible", "hidden", "hidden"]
        )
        assert pages.lobby.state("ann") == "away"
        assert pages.kinds() == ["joined", "away", "back", "away"]


@pytest.mark.gen_test(timeout=60)
async def test_a_hidden_tab_that_is_loaded_anew_is_back(pages):
    """Browsers throw pages of hidden tabs away, and load them again when somebody looks: back is told once."""
    async with Browser() as browser:
        page = await pages.tab(browser)
        tab = await page.evaluate("stream.tab")
        await set_hidden(page, hidden=True)
        await eventually(lambda: pages.lobby.state("ann") == "away")
        for _ in range(2):
            connection = next(iter(pages.lobby.hub.streams))
            await page.reload()
            await eventually(lambda: connection.closed and pages.lobby.state("ann") == "here")  # noqa: B023  # awaited here
        await eventually(lambda: len(pages.signs) == 3)
        assert pages.signs == [("hidden", tab), ("visible", tab), ("visible", tab)]
        assert pages.kinds() == ["joined", "away", "back"]


@pytest.mark.gen_test(timeout=60)
async def test_a_sign_that_was_lost_with_the_network_is_said_again(pages):
    """A tab that is shown while its connection is down says so when its stream is open again."""
    async with Browser() as browser:
        page = await pages.tab(browser)
        await set_hidden(page, hidden=True)
        await eventually(lambda: pages.lobby.state("ann") == "away")
        await page.evaluate("() => { navigator.sendBeacon = () => false; }")
        await set_hidden(page, hidden=False)
        await page.evaluate("() => { delete navigator.sendBeacon; }")
        assert pages.lobby.state("ann") == "away"
        next(iter(pages.lobby.hub.streams)).close()
        await eventually(lambda: pages.lobby.state("ann") == "here")
        assert [sign for sign, _ in pages.signs] == ["hidden", "visible"]
        assert pages.kinds() == ["joined", "away", "back"]


@pytest.mark.parametrize("go", ["reload", "close", "away"])
@pytest.mark.gen_test(timeout=60)
async def test_a_page_that_goes_gives_no_sign(pages, go):
    """Every page is hidden as the last thing, which is no sign; its stream is closed at once, also where the page is kept."""
    async with Browser() as browser:
        page = await pages.tab(browser)
        (connection,) = pages.lobby.hub.streams
        if go == "reload":
            await page.reload()
        elif go == "close":
            await page.close(run_before_unload=True)
        else:
            await page.goto("about:blank")
        await eventually(lambda: connection.closed)
        if go == "reload":
            await eventually(lambda: pages.lobby.state("ann") == "here")
        else:
            # Long enough for a sign that comes behind the close.
            await eventually(lambda: pages.lobby.hub.store.count() == 0)
            await browser.tab(f"{pages.lobby.url}/sfere.js")
            assert pages.lobby.state("ann") == "away"
            pages.lobby.pass_time(5)
        assert (pages.signs, pages.kinds()) == (
            [],
            ["joined"] if go == "reload" else ["joined", "left"],
        )


@pytest.mark.gen_test(timeout=60)
async def test_a_page_of_the_back_button_is_loaded_anew(pages):
    """A page that the browser has kept has lost its stream; when it is shown again it gets a new one, as the same tab."""
    async with Browser() as browser:
        page = await pages.tab(browser)
        tab = pages.tabs()
        await page.goto(f"{pages.lobby.url}/sfere.js")
        await eventually(lambda: pages.lobby.hub.store.count() == 0)
        # Not go_back: it waits for a load that does not come where the page was kept.
        await page.evaluate("() => { setTimeout(() => history.back(), 0); }")
        await eventually(lambda: pages.lobby.hub.store.count() == 1)
        assert pages.tabs() == tab
        assert pages.kinds() == ["joined"]


@pytest.mark.parametrize("leave", ["true", "false"])
@pytest.mark.gen_test(timeout=60)
async def test_leave_only_when_it_is_asked_for(pages, leave):
    """With ``leave`` a page that goes has left at once; without it, after the grace."""
    async with Browser() as browser:
        page = await pages.tab(browser, f'{{ signs: "/noted?name=ann", leave: {leave} }}')
        tab = await page.evaluate("stream.tab")
        await page.close(run_before_unload=True)
        await eventually(lambda: pages.lobby.hub.store.count() == 0)
        if leave == "true":
            await eventually(lambda: pages.lobby.told("left") == ["ann"])
            assert pages.signs == [("leave", tab)]
            assert pages.lobby.changes[-1][2] == "leave"
        else:
            assert (pages.lobby.state("ann"), pages.signs) == ("away", [])


@pytest.mark.gen_test(timeout=60)
async def test_a_beat_for_streams_behind_a_proxy(pages):
    """With ``beat`` the page says so often that it is there, until its stream is closed; without ``signs``, never."""
    async with Browser() as browser:
        page = await pages.tab(browser, '{ signs: "/noted?name=ann", beat: 0.05 }')
        await eventually(lambda: len(pages.signs) >= 3)
        assert {sign for sign, _ in pages.signs} == {"beat"}
        await page.evaluate("stream.close()")
        await eventually(lambda: pages.lobby.hub.store.count() == 0)
        await set_hidden(page, hidden=True)
        count = len(pages.signs)
        await page.wait_for_timeout(300)
        assert len(pages.signs) <= count + 1
        silent = await pages.tab(browser, "{ beat: 0.05 }")
        await set_hidden(silent, hidden=True)
        await silent.wait_for_timeout(300)
        assert len(pages.signs) <= count + 1


@pytest.mark.gen_test(timeout=60)
async def test_a_page_with_a_cursor_misses_nothing(pages):
    """What happened since the page was rendered comes first; and after a cut, what was missed, once."""
    async with Browser() as browser:
        blank = await browser.tab(f"{pages.lobby.url}/sfere.js")
        # The page is rendered, and its script runs only after more has been said.
        await blank.route("**/sfere.js", lambda route: say_first(pages.lobby, route))
        await blank.goto(f'{pages.lobby.url}/page?options={{ cursor: "CURSOR" }}')
        await blank.wait_for_function("() => window.said && window.said.length === 1")
        assert await blank.evaluate("said") == ["between"]
        connection = next(iter(pages.lobby.hub.streams))
        connection.close()
        pages.lobby.say("while it was down")
        await eventually(lambda: pages.lobby.hub.store.count() == 1)
        pages.lobby.say("live")
        await blank.wait_for_function("() => window.said.length === 3")
        assert await blank.evaluate("said") == ["between", "while it was down", "live"]


async def say_first(lobby, route):
    lobby.say("between")
    await route.continue_()
