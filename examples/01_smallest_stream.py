"""The smallest stream: each client of /events gets what is posted to /say.

Try it::

    python examples/01_smallest_stream.py --port 8001
    curl -N http://127.0.0.1:8001/events
    curl -d text=hello http://127.0.0.1:8001/say
"""

import asyncio
from itertools import count

from tornado.options import define, options, parse_command_line
from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, InterceptorMixin, SSEHandler, broadcast, send

define("port", default=8001, help="where to listen on 127.0.0.1")
hub = Hub()
numbers = count(1)


class Events(SSEHandler):
    def connection_key(self):
        return ("visitor", next(numbers))


class Say(InterceptorMixin, RequestHandler):
    def post(self):
        self.dispatch(broadcast((ANY, ANY), send(self.get_argument("text"))))


async def main():
    hub.listen(Application([("/events", Events), ("/say", Say)]), options.port)
    await hub.run_until_signal()


if __name__ == "__main__":
    parse_command_line()
    asyncio.run(main())
