"""Broadcasting from a background task: a coroutine beside the server counts.

Every open stream gets the count.

Try it::

    python examples/04_background_task.py --port 8004
    curl -N http://127.0.0.1:8004/events
"""

import asyncio
from itertools import count

from tornado.options import define, options, parse_command_line
from tornado.web import Application

from sfere_tornado import ANY, Hub, SSEHandler, broadcast, send

define("port", default=8004, help="where to listen on 127.0.0.1")
hub = Hub()
numbers = count(1)


class Events(SSEHandler):
    def connection_key(self):
        return ("counter", next(numbers))


async def count_up():
    for n in count(1):
        result = hub.dispatch(broadcast((ANY, ("counter", ANY)), send({"n": n}, event="count")))
        print("reached", result.results[0].value.reached, flush=True)
        await asyncio.sleep(1)


async def main():
    hub.listen(Application([("/events", Events)]), options.port)
    counting = asyncio.create_task(count_up())
    await hub.run_until_signal()
    counting.cancel()


if __name__ == "__main__":
    parse_command_line()
    asyncio.run(main())
