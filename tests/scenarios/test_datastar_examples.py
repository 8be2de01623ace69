"""The Datastar examples without a browser: their pages, their streams, and names with markup in them."""

import asyncio
import json
import re
import shlex
from html import escape, unescape
from urllib.parse import quote, urlencode

import pytest
from support.datastar import EXAMPLES, Example

from sfere_tornado.testing.stream_client import StreamClient

NAME = "<img src=x onerror=alert(1)> $name @post('/x') \"&"
DATASTAR = {"Datastar-Request": "true", "Content-Type": "application/json"}


async def fetch(url, **options):
    async with await StreamClient.open(url, **options) as client:
        if client.headers.get("Content-Length") not in {None, "0"}:
            await client.ended()
        return client.status, client.body.decode(), client.headers


def only_refusals(log):
    """Tell whether a log has nothing but answers with a status of 4xx."""
    return all(line.startswith(b"4") for line in log.splitlines())


def post(signals):
    return {"method": "POST", "headers": DATASTAR, "body": json.dumps(signals).encode()}


async def stream(url, signals, headers=()):
    url = f"{url}?datastar={quote(json.dumps(signals))}"
    return await StreamClient.open(url, headers={**DATASTAR, **dict(headers)})


DATASTAR_EXAMPLES = [
    *sorted(path.parent.name for path in EXAMPLES.glob("*/page.html")),
    "lobby_datastar",
]


@pytest.mark.parametrize("name", DATASTAR_EXAMPLES)
@pytest.mark.gen_test(timeout=30)
async def test_the_pages_have_no_script_of_their_own(name):
    """Datastar's script comes from the CDN, or from here where a file is given; there is no other script in the pages."""
    page = "/?name=brian" if name == "lobby_datastar" else "/"
    async with Example(name, script=None) as example:
        scripts = re.findall(
            r"<script.*?</script>", (await fetch(example.url + page))[1], re.DOTALL
        )
        [version] = re.findall(
            r"https://cdn\.jsdelivr\.net/gh/starfederation/datastar@v([\d.]+)/bundles/datastar\.js",
            scripts[0],
        )
        assert (len(scripts), version) == (1, "1.0.1")
        # Where none is given there is none to be had.
        assert (await fetch(example.url + "/datastar.js"))[0] == 404
    async with Example(name, script=__file__) as example:
        scripts = re.findall(
            r"<script.*?</script>", (await fetch(example.url + page))[1], re.DOTALL
        )
        assert scripts == ['<script type="module" src="/datastar.js"></script>']
        status, body, headers = await fetch(example.url + "/datastar.js")
        assert (status, headers["Content-Type"]) == (200, "text/javascript")
        assert "The Datastar examples without a browser" in body


@pytest.mark.parametrize("name", DATASTAR_EXAMPLES)
@pytest.mark.gen_test(timeout=30)
async def test_the_curl_lines_show_something(name):
    """The requests at the top of each example are answered as it stands there, and streams send events."""
    doc = (EXAMPLES / name / "app.py").read_text().split('"""')[1].replace("\\\\\n", "")
    lines = re.findall(r"^ +(curl .*?)(?: +#.*)?$", doc, re.MULTILINE)
    assert lines
    job = ""
    async with Example(name) as example:
        for line in lines:
            command = [
                re.sub(r"http://127\.0\.0\.1:\d+", example.url, part).replace("JOB", job)
                for part in shlex.split(line)
            ]
            curl = await asyncio.create_subprocess_exec(
                *command, "-s", "--fail", "--max-time", "1", stdout=asyncio.subprocess.PIPE
            )
            out, _ = await curl.communicate()
            if "-N" in command:
                # 28: still open when the time was over.
                assert (curl.returncode, b"\nevent: datastar-patch-" in out) == (28, True), line
            else:
                assert curl.returncode == 0
                job = re.search(r"Location: /jobs/(\S+)", out.decode())[1]


@pytest.mark.gen_test(timeout=30)
async def test_the_lobby():
    """The door and the room are pages, whoever enters and speaks is text everywhere, and leaving is told to the others."""
    async with Example("lobby_datastar") as lobby:
        assert 'name="name"' in (await fetch(lobby.url + "/"))[1]
        status, room, _ = await fetch(f"{lobby.url}/?name={quote(NAME)}")
        assert status == 200
        assert "<img src=x" not in room
        assert "$name @post('/x')" not in room.partition("data-signals=")[2].partition(">")[0]
        for wrong in ("x" * 65, "a\u2028b"):
            assert (await fetch(f"{lobby.url}/?name={quote(wrong)}"))[0] == 400

        phil = await stream(lobby.url + "/events", {"name": "phil", "tab": "1"})
        assert (await phil.event()).data == 'signals {"state":"connected"}'
        assert members_of(await phil.event()) == {"phil": "here"}
        other = await stream(lobby.url + "/events", {"name": NAME, "tab": "2"})
        assert members_of(await phil.event()) == {"phil": "here", NAME: "here"}
        joined = (await phil.event()).data
        assert f">{escape(NAME)} joined</li>" in joined
        assert "<img" not in joined
        me = {"name": NAME, "tab": "2"}
        assert (await fetch(lobby.url + "/say", **post({**me, "text": "<b>hello"})))[0] == 204
        said = await phil.event()
        assert "&lt;b&gt;hello</li>" in said.data
        for wrong in (
            {"name": "phil", "text": " "},
            {"name": 7, "text": "x"},
            {"name": "phil", "text": "x" * 4097},
        ):
            assert (await fetch(lobby.url + "/say", **post({"tab": "1", **wrong})))[0] == 400

        # Nobody looks: the stream is closed by the page, and the member is away; what is said meanwhile is not lost.
        assert (await fetch(lobby.url + "/hidden", **post(me)))[0] == 204
        assert members_of(await phil.event()) == {"phil": "here", NAME: "away"}
        seen = (await other.quiet())[-1].id
        other.close()
        assert (
            await fetch(
                lobby.url + "/say", **post({"name": "phil", "tab": "1", "text": "are you there?"})
            )
        )[0] == 204
        await phil.event("datastar-patch-elements")
        other = await stream(lobby.url + "/events", me, {"Last-Event-ID": seen})
        missed = [event.data for event in await other.quiet()]
        assert "are you there?" in missed[-3]
        assert missed[-2] == 'signals {"state":"connected"}'
        assert members_of((await phil.quiet())[-1]) == {"phil": "here", NAME: "here"}

        assert (await fetch(lobby.url + "/leave", **post(me)))[0] == 204
        assert "You have left" in (await other.event()).data
        assert await other.ended() is True
        assert members_of(await phil.event()) == {"phil": "here"}
        assert "left</li>" in (await phil.event()).data

        lost = await stream(
            lobby.url + "/events", {"name": "anna", "tab": "3"}, {"Last-Event-ID": "7-another"}
        )
        assert (
            "is missing</li>"
            in [event.data for event in await lost.quiet() if event.event != "gap"][-1]
        )
    assert only_refusals(lobby.log)


def members_of(event):
    """Return the names of a list of members, each with whether it is here or away."""
    items = re.findall(
        r'<li data-name="[^"]*" data-class:me="[^"]*"( class="away" title="away")?>([^<]*)</li>',
        event.data,
    )
    assert event.data.startswith('mode replace\nelements <ul id="members">')
    return {unescape(name): "away" if away else "here" for away, name in items}


@pytest.mark.gen_test(timeout=30)
async def test_the_dashboard():
    """Whoever asks gets the numbers, again and again, EventSource and curl included."""
    async with Example("dashboard_datastar") as dashboard:
        assert "data-init" in (await fetch(dashboard.url + "/"))[1]
        client = await StreamClient.open(
            dashboard.url + "/events", headers={"Accept": "text/event-stream"}
        )
        numbers = [
            json.loads((await client.event()).data.removeprefix("signals ")) for _ in range(3)
        ]
        assert [one["pages"] for one in numbers] == [1, 1, 1]
        assert numbers[0]["sent"] < numbers[1]["sent"] < numbers[2]["sent"]
    assert dashboard.log == b""


@pytest.mark.gen_test(timeout=30)
async def test_the_job():
    """A form starts a job; its stream tells the progress and the result, and ends; later ones tell the result at once."""
    async with Example("job_progress") as jobs:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({"title": NAME}).encode()
        status, _, headers = await fetch(jobs.url + "/jobs", method="POST", headers=form, body=body)
        assert status == 303
        job = jobs.url + headers["Location"]
        assert "data-init" in (await fetch(job))[1]
        client = await StreamClient.open(job + "/events", headers=DATASTAR)
        first = (await client.event()).data
        assert escape(NAME) in first
        assert "<img" not in first
        assert await client.ended() is True
        assert "All counted" in (await client.quiet())[-1].data
        later = await StreamClient.open(job + "/events", headers=DATASTAR)
        assert "All counted" in (await later.event()).data
        assert await later.ended() is True
        assert (await fetch(jobs.url + "/jobs/nothing"))[0] == 404
        assert (await fetch(jobs.url + "/jobs/nothing/events", headers=DATASTAR))[0] == 404
        foreign = {**form, "Origin": "https://evil.example"}
        assert (await fetch(jobs.url + "/jobs", method="POST", headers=foreign, body=body))[
            0
        ] == 403
    assert only_refusals(jobs.log)


@pytest.mark.gen_test(timeout=30)
async def test_the_streaming_text():
    """A question opens a stream of words; stopping ends it, and a new question of the same page ends the old answer."""
    async with Example("streaming_text") as text:
        assert "data-indicator" in (await fetch(text.url + "/"))[1]
        asked = {"page": "1", "prompt": NAME}
        client = await StreamClient.open(text.url + "/ask", **post(asked))
        assert (await client.event()).data == "selector #answer\nmode inner"
        words = [(await client.event()).data for _ in range(4)]
        assert words[2].endswith(f"<span>{escape(NAME)} </span>")
        assert (await fetch(text.url + "/stop", **post({"page": "1"})))[0] == 204
        assert await client.ended() is True

        client = await StreamClient.open(text.url + "/ask", **post(asked))
        again = await StreamClient.open(text.url + "/ask", **post(asked))
        assert await client.ended() is True
        assert len(await client.quiet()) < 20
        assert (await again.event()).data == "selector #answer\nmode inner"
        assert (await fetch(text.url + "/ask", **post({"page": "1", "prompt": ""})))[0] == 400
    assert only_refusals(text.log)
