"""The demo as a process of its own, through its fixed surface."""

import asyncio
import os
import signal

import pytest
from support.demo import Demo

from sfere_tornado.connection import AWAY


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
