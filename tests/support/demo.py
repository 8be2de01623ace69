"""The demo as a process of its own."""

import asyncio
import json
import re
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from sfere_tornado.testing.stream_client import StreamClient

APP = Path(__file__).parents[2] / "examples" / "lobby" / "app.py"


class Demo:
    """The demo, started with a free port."""

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            APP,
            "--port",
            "0",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        line = (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode()
        self.url = re.search(r"http://[\d.]+:\d+", line).group()
        return self

    async def __aexit__(self, *error):
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.communicate()

    async def enter(self, name):
        return await StreamClient.open(f"{self.url}/events?name={quote(name)}")

    async def request(self, path, fields=None):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields).encode() if fields is not None else b""
        method = "GET" if fields is None else "POST"
        if method == "POST" and not body:
            form["Content-Length"] = "0"
        async with await StreamClient.open(
            self.url + path, method=method, headers=form, body=body
        ) as answer:
            if answer.status != 204:
                await answer.ended()
            return answer.status, answer.body.decode()

    async def who(self):
        return json.loads((await self.request("/who"))[1])
