"""A live dashboard: one coroutine measures, every page shows it, a slow page delays no other.

    python examples/dashboard_datastar/app.py --port 8011
    curl -N http://127.0.0.1:8011/events

The numbers are signals. Each update is conflated: a page that is behind gets only the newest.
"""

import argparse
import asyncio
import os
import resource
import time
from collections import deque
from itertools import count
from pathlib import Path

from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, HubConfig, StreamConfig, broadcast
from sfere_tornado.datastar.actions import Datastar, patch_signals
from sfere_tornado.datastar.handlers import DatastarHandler

HERE = Path(__file__).parent
CDN = "https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.1/bundles/datastar.js"
SECONDS, POINTS = 0.1, 100

hub = Hub(HubConfig(stream=StreamConfig(on_slow="conflate")), registries=[Datastar()])
numbers = count(1)


class Page(RequestHandler):
    def get(self):
        self.render("page.html")


class Events(DatastarHandler):
    def connection_key(self):
        return ("dashboard", next(numbers))


async def measure():
    """Measure, and send the numbers to every page; without open streams, send nothing."""
    values, used, began = deque([0.0] * POINTS, POINTS), time.process_time(), time.monotonic()
    for sent in count(1):
        await asyncio.sleep(SECONDS)
        now, process = time.monotonic(), time.process_time()
        cpu = min(100.0, 100 * (process - used) / (now - began))
        values.append(cpu)
        used, began = process, now
        if hub.streams:
            top = max(10, *values)
            signals = {
                "cpu": round(cpu),
                "load": round(os.getloadavg()[0], 2),
                "memory": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "pages": len(hub.streams),
                "sent": sent,
                "top": round(top),
                "points": " ".join(
                    f"{x},{97 - 94 * value / top:.1f}" for x, value in enumerate(values)
                ),
            }
            hub.dispatch(
                broadcast((ANY, ("dashboard", ANY)), patch_signals(signals, conflate="numbers"))
            )


class Script(RequestHandler):
    """Serve Datastar's script from here instead of from the CDN."""

    def get(self):
        self.set_header("Content-Type", "text/javascript")
        self.finish(Path(self.settings["datastar"]).read_bytes())


ROUTES = [("/", Page), ("/events", Events)]


async def main(port, script):
    settings = {
        "template_path": HERE,
        "datastar": script,
        "datastar_url": "/datastar.js" if script else CDN,
    }
    routes = [*ROUTES, ("/datastar.js", Script)] if script else ROUTES
    port = hub.listen(Application(routes, **settings), port)
    print(f"The dashboard is open: http://127.0.0.1:{port}/", flush=True)
    measuring = asyncio.create_task(measure())
    await hub.run_until_signal(window=0, timeout=5)
    measuring.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--port", type=int, default=8011, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--datastar", metavar="FILE", help="serve this script instead of the one of the CDN"
    )
    arguments = parser.parse_args()
    asyncio.run(main(arguments.port, arguments.datastar))
