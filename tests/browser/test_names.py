"""Abuse: a name that is markup, a script or an expression of Datastar's is text in every example, in a real Chromium."""

from urllib.parse import urlsplit

import pytest
from support.browser import CHROMIUM, Browser
from support.datastar import EXAMPLES, MISSING, SCRIPT, Example

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium on this machine; on Debian: apt install chromium"
    ),
]

#: Each changes the page's title, or makes it fetch something, wherever it is more than text.
NAMES = [
    "<img src=x onerror=document.title='!'>",
    "</script><script>document.title='!'</script>",
    "\"><svg onload=document.title='!'>",
    "'+(document.title='!')+'",
    "<b data-init=\"document.title='!'\">$text</b>",
    "@get('/stolen') $_left &lt;i&gt; {{ 7 }}",
]


async def enter_lobby(page, name):
    """The lobby: the name is in the list, over what was said, and in the others' notes."""
    await page.fill("#door input", name)
    await page.click("#door button")
    await page.wait_for_selector("#room:not([hidden])")
    await page.fill("#say input", name)
    await page.press("#say input", "Enter")
    await page.wait_for_selector("#talk .said")
    return ["#members li", "#talk .said b", "#state", "#talk .said"]


async def enter_lobby_datastar(page, name):
    """The lobby in Datastar: the same places, and the page itself has the name in it."""
    await page.fill(".door input", name)
    await page.press(".door input", "Enter")
    await page.wait_for_selector("#members li")
    await page.fill("#say input", name)
    await page.press("#say input", "Enter")
    await page.wait_for_selector("#talk .said")
    return ["#members li", "#talk .said b", "#state", "#talk .said"]


async def start_job(page, name):
    """A job: its title is over the progress, and over the result."""
    await page.fill("input", name)
    await page.press("input", "Enter")
    await page.wait_for_selector("#job .bar")
    return ["#job h1"]


async def ask(page, name):
    """A question is repeated in the answer."""
    await page.fill("input", name)
    await page.press("input", "Enter")
    await page.wait_for_function("document.querySelectorAll('#answer span').length > 3")
    return ["#answer"]


#: Every example with a page: how something is typed in, which returns where it is shown; None where nothing can be.
WAYS = {
    "lobby": enter_lobby,
    "lobby_datastar": enter_lobby_datastar,
    "job_progress": start_job,
    "streaming_text": ask,
    "dashboard_datastar": None,
}


def test_every_example_is_tried():
    """An example with a page that nobody has typed a name into fails here; and where nothing is typed there is no field."""
    assert set(WAYS) == {path.parent.name for path in EXAMPLES.glob("*/app.py")}
    for name, way in WAYS.items():
        pages = [path.read_text() for path in EXAMPLES.glob(f"{name}/*.html")]
        assert any("<input" in page for page in pages) == (way is not None)


@pytest.mark.parametrize("example", [name for name, way in WAYS.items() if way])
@pytest.mark.gen_test(timeout=120)
async def test_a_name_is_text(example):
    """Whatever is typed in is shown as it was typed, and nothing of it runs, for the one who typed it and for the others."""
    if example != "lobby" and SCRIPT is None:
        pytest.skip(MISSING)
    script = None if example == "lobby" else SCRIPT
    async with Example(example, script=script) as there, Browser() as browser:
        asked, first = [], None
        for name in NAMES:
            page = await browser.tab(there.url)
            page.on("request", lambda request: asked.append(request.url))
            title = await page.title()
            places = await WAYS[example](page, name)
            for place in places:
                texts = await page.locator(place).all_text_contents()
                assert any(name in text for text in texts), (place, texts)
            for one in {page, first or page}:
                assert await one.title() == title
                assert (
                    await one.locator(
                        "main :is(img, script, b[data-init], i), main svg[onload]"
                    ).count()
                    == 0
                )
            if first is None:
                first = page
            else:
                # A browser has six streams of a server at most.
                await page.close()
        assert {urlsplit(url).path for url in asked} & {"/stolen", "/x"} == set()
