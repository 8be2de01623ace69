"""A long job: a POST starts it, its progress and result come over a stream, a reload resumes.

    python examples/job_progress/app.py --port 8012
    curl -i -d title=Sheep http://127.0.0.1:8012/jobs            # its answer says where the job is
    curl -N http://127.0.0.1:8012/jobs/JOB/events

A job is a task beside the requests. It runs with or without open pages; each page that opens shows
how far the job is.
"""

import argparse
import asyncio
import secrets
from dataclasses import dataclass
from html import escape
from pathlib import Path

from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import DEFAULT_SCOPE, Hub, InterceptorMixin, close_sse, with_connection
from sfere_tornado.datastar.actions import Datastar, patch_elements
from sfere_tornado.datastar.handlers import DatastarHandler
from sfere_tornado.web.guards import require_origin

HERE = Path(__file__).parent
CDN = "https://cdn.jsdelivr.net/gh/starfederation/datastar@v1.0.1/bundles/datastar.js"
STEPS, SECONDS, LONGEST = 50, 0.1, 100

#: How many of the newest jobs are kept; the page of an older one answers 404.
KEPT = 1000

hub = Hub(registries=[Datastar()])


@dataclass
class Job:
    title: str
    done: int = 0

    def effects(self):
        """Return what a page of this job shows now; the last effects end the stream for good."""
        title, percent = escape(self.title), 100 * self.done // STEPS
        if self.done == STEPS:
            return [
                patch_elements(f'<div id="job"><h1>{title}: {STEPS}</h1><p>All counted.</p></div>'),
                close_sse(),
            ]
        bar = f'<div class="bar" role="progressbar" aria-valuenow="{percent}"><div style="width: {percent}%"></div></div>'
        return [
            patch_elements(f'<div id="job"><h1>{title}</h1><p>{percent} % counted</p>{bar}</div>')
        ]


jobs: dict[str, Job] = {}
tasks = set()


async def work(number, job):
    while job.done < STEPS:
        await asyncio.sleep(SECONDS)
        job.done += 1
        hub.dispatch(with_connection((DEFAULT_SCOPE, ("job", number)), *job.effects()))


class Page(RequestHandler):
    def get(self, number=None):
        if number is not None and number not in jobs:
            raise HTTPError(404)
        self.render("page.html", job=number)


class Jobs(InterceptorMixin, RequestHandler):
    interceptors = [require_origin()]  # a page of another site must not start jobs here

    def post(self):
        title = self.get_body_argument("title")
        if not 0 < len(title) <= LONGEST:
            raise HTTPError(400, reason=f"The title must have 1 to {LONGEST} characters")
        while len(jobs) >= KEPT:
            del jobs[next(iter(jobs))]
        number = secrets.token_urlsafe(12)
        jobs[number] = Job(title)
        task = asyncio.create_task(work(number, jobs[number]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        self.redirect(f"/jobs/{number}", status=303)


class Events(DatastarHandler):
    def connection_key(self):
        return ("job", self.path_args[0])

    def prepare(self):
        if self.path_args[0] not in jobs:
            raise HTTPError(404)

    def on_open(self, connection):
        return jobs[self.path_args[0]].effects()


class Script(RequestHandler):
    """Serve Datastar's script from here instead of from the CDN."""

    def get(self):
        self.set_header("Content-Type", "text/javascript")
        self.finish(Path(self.settings["datastar"]).read_bytes())


ROUTES = [
    ("/", Page),
    ("/jobs", Jobs),
    ("/jobs/([^/]+)", Page),
    ("/jobs/([^/]+)/events", Events),
]


async def main(port, script):
    settings = {
        "template_path": HERE,
        "datastar": script,
        "datastar_url": "/datastar.js" if script else CDN,
    }
    routes = [*ROUTES, ("/datastar.js", Script)] if script else ROUTES
    port = hub.listen(Application(routes, **settings), port)
    print(f"The jobs are open: http://127.0.0.1:{port}/", flush=True)
    await hub.run_until_signal(window=0, timeout=5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--port", type=int, default=8012, help="0 takes any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--datastar", metavar="FILE", help="serve this script instead of the one of the CDN"
    )
    arguments = parser.parse_args()
    asyncio.run(main(arguments.port, arguments.datastar))
