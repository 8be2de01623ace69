"""Datastar's own script, for browsers in tests: from the package starhtml, which carries version 1.0.1."""

import asyncio
import os
import re
import sys
from importlib import metadata
from pathlib import Path

#: Why there is none, where there is none.
MISSING = (
    "Datastar's script is not here; pip install --no-deps --ignore-requires-python starhtml, "
    "or name a file in the environment variable DATASTAR_SCRIPT"
)


def _find():
    named = os.environ.get("DATASTAR_SCRIPT")
    if named:
        return Path(named)
    try:
        found = metadata.distribution("starhtml").locate_file("starhtml/static/js/datastar-core.js")
    except metadata.PackageNotFoundError:
        return None
    return Path(found) if Path(found).exists() else None


SCRIPT = _find()

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example:
    """One of the examples with a page as a process of its own; ``script`` is Datastar's, None for that of the CDN."""

    def __init__(self, name, script=SCRIPT):
        self.app = EXAMPLES / name / "app.py"
        self.script = script
        self.port = 0
        self.log = b""

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *error):
        await self.stop()

    async def start(self):
        script = ["--datastar", str(self.script)] if self.script else []
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            self.app,
            f"--port={self.port}",
            *script,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        line = (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode()
        self.url = re.search(r"http://[\d.]+:\d+", line).group()
        self.port = int(self.url.rpartition(":")[2])

    async def stop(self):
        if self.process.returncode is None:
            self.process.terminate()
        _, log = await self.process.communicate()
        self.log += log
