"""Broadcasting from a thread: blocking work reports its progress to its job's streams.

Try it::

    python examples/05_from_a_thread.py --port 8005
    curl -N http://127.0.0.1:8005/events/7
    curl -X POST http://127.0.0.1:8005/jobs/7
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from tornado.options import define, options, parse_command_line
from tornado.web import Application, RequestHandler

from sfere_tornado import DEFAULT_SCOPE, Hub, SSEHandler, send, with_connection

define("port", default=8005, help="where to listen on 127.0.0.1")
hub = Hub()
workers = ThreadPoolExecutor(max_workers=4)


class Events(SSEHandler):
    def connection_key(self):
        return ("job", self.path_args[0])


class Jobs(RequestHandler):
    def post(self, job):
        workers.submit(work, job)
        self.set_status(202)


def work(job):
    for percent in range(0, 101, 20):
        progress = send({"percent": percent}, event="progress")
        hub.dispatch_threadsafe(with_connection((DEFAULT_SCOPE, ("job", job)), progress))
        time.sleep(0.1)


async def main():
    hub.listen(Application([("/events/(.+)", Events), ("/jobs/(.+)", Jobs)]), options.port)
    await hub.run_until_signal()


if __name__ == "__main__":
    parse_command_line()
    asyncio.run(main())
