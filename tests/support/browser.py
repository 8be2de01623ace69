"""The system's Chromium, each one a process group of its own that can be killed."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile

from playwright.async_api import async_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

#: As root there is no sandbox; the others keep the browser from calling its maker, as the page for new tabs does.
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
    "about:blank",
]  # fmt: skip  # one a line would fill the page


class Browser:
    """One running Chromium; ``await browser.tab(url)`` opens a tab, ``kill()`` ends it without any goodbye."""

    async def __aenter__(self):
        self.profile = tempfile.mkdtemp(prefix="chromium-")
        self.process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={self.profile}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        while True:
            line = (await asyncio.wait_for(self.process.stderr.readline(), 30)).decode(
                errors="replace"
            )
            found = re.search(r"DevTools listening on (ws://\S+)", line)
            if found:
                break
            assert line, "Chromium ended before it could be used"
        self.reader = asyncio.create_task(self.process.stderr.read())
        self.playwright = await async_playwright().start()
        self.browser = await self.playwright.chromium.connect_over_cdp(found[1])
        return self

    async def __aexit__(self, *error):
        with contextlib.suppress(Exception):
            await self.browser.close()
        await self.playwright.stop()
        self.kill()
        await self.process.wait()
        await self.reader
        shutil.rmtree(self.profile, ignore_errors=True)

    async def tab(self, url):
        page = await self.browser.contexts[0].new_page()
        await page.goto(url)
        return page

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
