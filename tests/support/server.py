"""A server as a process of its own: a script that prints its port first."""

import asyncio
import signal
import sys


class ServerProcess:
    """Runs a script with some arguments; ``url`` is where it listens, ``log`` what it wrote to its standard error."""

    def __init__(self, script, *arguments):
        self._command = [sys.executable, "-c", script, *map(str, arguments)]
        self.log = ""

    async def __aenter__(self):
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        line = await asyncio.wait_for(self.process.stdout.readline(), 20)
        assert line, (await self.process.stderr.read()).decode()
        self.port = int(line)
        self.url = f"http://127.0.0.1:{self.port}"
        self._reading = asyncio.ensure_future(self.process.stderr.read())
        return self

    async def __aexit__(self, *error):
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    async def ended(self):
        """Wait for the end; returns the exit code."""
        code = await asyncio.wait_for(self.process.wait(), 30)
        self.log = (await self._reading).decode()
        return code
