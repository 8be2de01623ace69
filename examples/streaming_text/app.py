"""Streaming text: a question is answered word by word, on its own stream, until done or stopped.

    python examples/streaming_text/app.py --port 8013
    curl -N http://127.0.0.1:8013/ask -H 'Datastar-Request: true' \\
         -H 'Content-Type: application/json' \\
         -d '{"page": "1", "prompt": "Why?"}'

The words come from a list; a language model would be another loop in the effect ``write``.
"""

import argparse
import asyncio
import secrets
from html import escape
from itertools import cycle, islice
from pathlib import Path

from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import Hub, HubConfig, Registry, StoreConfig, close_sse, target_of
from sfere_tornado.datastar.actions import Datastar, patch_elements, signals_json
from sfere_tornado.datastar.handlers import DatastarHandler

HERE = Path(__file__).parent
CDN = "https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.1/bundles/datastar.js"
WORDS = ["well", "that", "depends", "on", "the", "light", "and", "on", "who", "is", "asking"]
LENGTH, SECONDS, LONGEST = 120, 0.05, 200

registry = Registry("text")


@registry.effect("write", system_keys=["sse"])
async def write(ctx, prompt: str):
    """Answer a question word by word.

    Args:
        prompt: the question.
    """
    for word in ["You", "ask:", prompt, "—", *islice(cycle(WORDS), LENGTH)]:
        if target_of(ctx).closed:
            return  # stopped, or the page has gone
        ctx.dispatch(
            patch_elements(f"<span>{escape(word)} </span>", selector="#answer", mode="append")
        )
        await asyncio.sleep(SECONDS)


# A page has one answer at a time: a new question takes the place of the old one.
hub = Hub(HubConfig(store=StoreConfig(same_key="replace")), registries=[Datastar(), registry])


class Page(RequestHandler):
    def get(self):
        signals = signals_json({"page": secrets.token_urlsafe(12), "prompt": "", "writing": False})
        self.render("page.html", signals=signals)


class Ask(DatastarHandler):
    stream_verbs = frozenset({"POST"})  # each question opens a stream of its own

    def connection_key(self):
        return ("answer", str(self.signals.get("page")))

    def post(self):
        prompt = self.signals.get("prompt")
        if not isinstance(prompt, str) or not 0 < len(prompt) <= LONGEST:
            raise HTTPError(400, reason=f"The prompt must have 1 to {LONGEST} characters")
        return [
            patch_elements("", selector="#answer", mode="inner"),
            ("write", prompt),
            close_sse(),
        ]


class Stop(DatastarHandler):
    with_open_sse = True

    def connection_key(self):
        return ("answer", str(self.signals.get("page")))

    def post(self):
        return close_sse()  # on the stream that is open; the effect sees that it is closed


class Script(RequestHandler):
    """Serve Datastar's script from here instead of from the CDN."""

    def get(self):
        self.set_header("Content-Type", "text/javascript")
        self.finish(Path(self.settings["datastar"]).read_bytes())


ROUTES = [("/", Page), ("/ask", Ask), ("/stop", Stop)]


async def main(port, script):
    settings = {
        "template_path": HERE,
        "datastar": script,
        "datastar_url": "/datastar.js" if script else CDN,
    }
    routes = [*ROUTES, ("/datastar.js", Script)] if script else ROUTES
    port = hub.listen(Application(routes, **settings), port)
    print(f"Ask away: http://127.0.0.1:{port}/", flush=True)
    await hub.run_until_signal(window=0, timeout=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--port", type=int, default=8013, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--datastar", metavar="FILE", help="serve this script instead of the one of the CDN"
    )
    arguments = parser.parse_args()
    asyncio.run(main(arguments.port, arguments.datastar))
