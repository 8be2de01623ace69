"""Expiry by YAML: a stream of the category "ticket" ends two seconds after it opened.

The other clients get the cause.

Try it::

    python examples/03_expiry_by_yaml.py --port 8003
    curl -N 'http://127.0.0.1:8003/events/guest/phil'
    curl -N 'http://127.0.0.1:8003/events/ticket/brian'
"""

import asyncio
from pathlib import Path

from tornado.options import define, options, parse_command_line
from tornado.web import Application

from sfere_tornado import ANY, Hub, SSEHandler, broadcast, send

define("port", default=8003, help="where to listen on 127.0.0.1")
hub = Hub.from_yaml(Path(__file__).with_name("03_expiry.yaml"))


class Events(SSEHandler):
    def connection_key(self):
        category, name = self.path_args
        return (category, name)


@hub.on_evict
def left(key, connection, cause):
    hub.dispatch(broadcast((ANY, ANY), send({"name": key.id, "cause": cause}, event="left")))


async def main():
    hub.listen(Application([("/events/(guest|ticket)/(.+)", Events)]), options.port)
    await hub.run_until_signal()


if __name__ == "__main__":
    parse_command_line()
    asyncio.run(main())
