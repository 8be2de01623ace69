"""The demo as a process of its own, through its fixed surface."""

import asyncio
import os
import signal

import pytest
from support.demo import Demo

from sfere_tornado.streams.connection import AWAY
from sfere_tornado.testing import StreamClient


@pytest.mark.gen_test(timeout=30)
async def test_two_chat_and_one_leaves():
    """here, joined, message and left come to whom they are meant for, in order, each once."""
    async with Demo() as demo:
        brian = await demo.enter("brian")
        assert await brian.json() == {"members": ["brian"]}
        phil = await demo.enter("phil")
        assert await phil.json() == {"members": ["brian", "phil"]}
        assert await brian.json("joined") == {"name": "phil"}
        assert await demo.who() == {"members": ["brian", "phil"], "connections": 2}

        assert (await demo.request("/message", {"name": "brian", "text": "a <b> & c"}))[0] == 204
        for client in (brian, phil):
            assert await client.json() == {"name": "brian", "text": "a <b> & c"}

        brian.close()
        assert await phil.json() == {"name": "brian", "cause": "explicit"}
        assert await phil.quiet() == []
        assert await demo.who() == {"members": ["phil"], "connections": 1}


@pytest.mark.gen_test(timeout=30)
async def test_a_second_tab_is_neither_joining_nor_leaving():
    """Two streams under one name are one member: joined is said for the first, left for the last."""
    async with Demo() as demo:
        phil = await demo.enter("phil")
        await phil.event("here")
        first = await demo.enter("brian")
        assert await first.json() == {"members": ["brian", "phil"]}
        second = await demo.enter("brian")
        assert await second.json() == {"members": ["brian", "phil"]}
        assert await demo.who() == {"members": ["brian", "phil"], "connections": 3}
        first.close()
        assert [event.event for event in await phil.quiet()] == ["joined"]
        second.close()
        assert await phil.json() == {"name": "brian", "cause": "explicit"}


@pytest.mark.gen_test(timeout=30)
async def test_leaving_by_the_button():
    """POST /leave ends all streams of the name, tells the browser to stay away, and the others that it left."""
    async with Demo() as demo:
        brian, phil = await demo.enter("brian"), await demo.enter("phil")
        assert (await demo.request("/leave", {"name": "brian"}))[0] == 204
        assert await brian.ended() is True
        assert brian.parser.retry == AWAY
        assert await phil.json("left") == {"name": "brian", "cause": "explicit"}


@pytest.mark.gen_test(timeout=30)
async def test_bad_input_is_answered_with_400_and_a_readable_text():
    """Empty and over-long names and texts are refused; the longest allowed are not."""
    async with Demo() as demo:
        for path, fields, text in [
            ("/events", None, "name must not be empty"),
            ("/events?name=%20", None, "name must not be empty"),
            (f"/events?name={'x' * 65}", None, "at most 64 characters, not 65"),
            ("/message", {"name": "a", "text": ""}, "text must not be empty"),
            ("/message", {"name": "", "text": "t"}, "name must not be empty"),
            ("/message", {"name": "a", "text": "x" * 4097}, "at most 4096 characters, not 4097"),
            ("/leave", {}, "name must not be empty"),
        ]:
            status, body = await demo.request(path, fields)
            assert (status, text in body) == (400, True), (path, status, body)
        longest = await demo.enter("é" * 64)
        assert await longest.json() == {"members": ["é" * 64]}
        assert (await demo.request("/message", {"name": "a", "text": "x" * 4096}))[0] == 204
        assert len((await longest.json("message"))["text"]) == 4096


@pytest.mark.gen_test(timeout=30)
async def test_names_are_data_everywhere():
    """A name that looks like a wildcard, markup or a field is one name among others."""
    names = ["*", "ANY", "a/b", "<img onerror=alert(1)>", "data: x", "a\u2028b", "%2A"]
    async with Demo() as demo:
        clients = [await demo.enter(name) for name in names]
        assert (await demo.who())["members"] == sorted(names)
        assert (await demo.request("/leave", {"name": "*"}))[0] == 204
        assert await clients[0].ended()
        assert await clients[1].json("left") == {"name": "*", "cause": "explicit"}
        assert (await demo.who())["members"] == sorted(names[1:])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.gen_test(timeout=30)
async def test_signals_end_it_at_once(number):
    """SIGINT and SIGTERM end the demo with exit code 0 and nothing in the log, open streams or not."""
    async with Demo() as demo:
        clients = [await demo.enter(f"client-{n}") for n in range(20)]
        os.kill(demo.process.pid, number)
        _, log = await asyncio.wait_for(demo.process.communicate(), 5)
        assert demo.process.returncode == 0
        assert log == b""
        assert await clients[0].ended() is False


@pytest.mark.gen_test(timeout=30)
async def test_a_return_within_the_grace_leaves_no_trace():
    """Who comes back within two seconds, as a reload does, has neither left nor joined; who does not is told once."""
    async with Demo() as demo:
        phil = await demo.enter("phil")
        brian = await demo.enter("brian")
        await phil.event("joined")
        for _ in range(3):
            brian.close()
            brian = await demo.enter("brian")
        brian.close()
        assert await phil.json() == {"name": "brian", "cause": "explicit"}
        assert [event.event for event in await phil.quiet(0.2)] == []


@pytest.mark.gen_test(timeout=30)
async def test_away_and_back():
    """A hidden tab is away, for those who are here and for newcomers; looked at again, it is back."""
    async with Demo() as demo:
        phil, brian = await demo.enter("phil"), await demo.enter("brian")
        await phil.event("joined")
        assert (await demo.request("/signs?name=brian", {"sign": "hidden"}))[0] == 204
        assert await phil.json("away") == {"name": "brian"}
        anna = await demo.enter("anna")
        assert await anna.json("here") == {"members": ["anna", "brian", "phil"]}
        assert await anna.json("away") == {"name": "brian"}
        assert (await demo.request("/signs?name=brian", {"sign": "visible"}))[0] == 204
        assert await phil.json("back") == {"name": "brian"}
        assert await anna.json("back") == {"name": "brian"}
        assert (await demo.request("/signs?name=brian", {"sign": "sleepy"}))[0] == 400
        assert [event.event for event in await brian.quiet()] == ["here", "joined"]


@pytest.mark.gen_test(timeout=30)
async def test_what_was_said_meanwhile_is_shown_and_a_gap_is_told():
    """A stream that comes back with its last id gets what was said since, in order; with a foreign id, a gap."""
    async with Demo() as demo:
        phil, brian = await demo.enter("phil"), await demo.enter("brian")
        await demo.request("/message", {"name": "phil", "text": "first"})
        last = (await brian.event("message")).id
        brian.close()
        for text in ("second", "third"):
            await demo.request("/message", {"name": "phil", "text": text})
        brian = await StreamClient.open(
            f"{demo.url}/events?name=brian", headers={"Last-Event-ID": last}
        )
        assert [(await brian.json("message"))["text"] for _ in range(2)] == ["second", "third"]
        await brian.event("here")
        assert await brian.quiet() == []
        lost = await StreamClient.open(
            f"{demo.url}/events?name=brian", headers={"Last-Event-ID": "7-other"}
        )
        assert await lost.json() == {"reason": "foreign"}
        assert (await lost.event()).event == "here"
        assert [event.event for event in await phil.quiet(0.2)] == [
            "here",
            "joined",
            "message",
            "message",
            "message",
        ]
