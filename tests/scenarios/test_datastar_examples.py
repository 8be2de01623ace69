"""The Datastar examples without a browser: their pages, their streams, and names with markup in them."""

import json
from html import escape
from urllib.parse import quote, urlencode

import pytest
from support.datastar import Example

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


async def stream(url, signals):
    return await StreamClient.open(f"{url}?datastar={quote(json.dumps(signals))}", headers=DATASTAR)


@pytest.mark.gen_test(timeout=30)
async def test_the_lobby():
    """The door and the room are pages, whoever enters and speaks is text everywhere, and leaving is told to the others."""
    async with Example("lobby_datastar") as lobby:
        assert 'name="name"' in (await fetch(lobby.url + "/"))[1]
        status, room, _ = await fetch(f"{lobby.url}/?name={quote(NAME)}")
        assert status == 200
        assert "<img src=x" not in room
        assert "$name @post('/x')" not in room.partition("data-signals=")[2].partition(">")[0]
        assert (await fetch(f"{lobby.url}/?name={'x' * 65}"))[0] == 400

        phil = await stream(lobby.url + "/events", {"name": "phil"})
        assert (await phil.event()).data == 'signals {"state":"connected"}'
        assert (await phil.event()).data == 'elements <ul id="members"><li data-name="phil">phil</li></ul>'
        other = await stream(lobby.url + "/events", {"name": NAME})
        for expected in ("members", "joined"):
            data = (await phil.event()).data
            assert expected in data
            assert escape(NAME) in data
            assert "<img" not in data
        assert (await fetch(lobby.url + "/say", **post({"name": NAME, "text": "<b>hello"})))[0] == 204
        assert "&lt;b&gt;hello</li>" in (await phil.event()).data
        assert (await fetch(lobby.url + "/say", **post({"name": "phil", "text": " "})))[0] == 400
        assert (await fetch(lobby.url + "/say", **post({"name": 7, "text": "x"})))[0] == 400
        assert (await fetch(lobby.url + "/leave", **post({"name": NAME})))[0] == 204
        assert await other.ended() is True
        assert "img" not in (await phil.event()).data
        assert "left</li>" in (await phil.event()).data
    assert only_refusals(lobby.log)


@pytest.mark.gen_test(timeout=30)
async def test_the_dashboard():
    """Whoever asks gets the numbers, again and again, EventSource and curl included."""
    async with Example("dashboard_datastar") as dashboard:
        assert "data-init" in (await fetch(dashboard.url + "/"))[1]
        client = await StreamClient.open(dashboard.url + "/events", headers={"Accept": "text/event-stream"})
        numbers = [json.loads((await client.event()).data.removeprefix("signals ")) for _ in range(3)]
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
        assert (await fetch(jobs.url + "/jobs", method="POST", headers=foreign, body=body))[0] == 403
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
