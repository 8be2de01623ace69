"""Composing chains: interceptors of the hub, of a class and of a route.

They run around each request, in this order.

Try it::

    python examples/02_composing_chains.py --port 8002
    curl -N -H 'X-User: brian' http://127.0.0.1:8002/events
    curl -H 'X-User: brian' -d text=hello http://127.0.0.1:8002/say
    curl -H 'X-User: brian' -d text=louder http://127.0.0.1:8002/shout
    curl -d text=hello http://127.0.0.1:8002/say        # 401: no X-User
"""

import asyncio
import time

from tornado.options import define, options, parse_command_line
from tornado.web import Application, HTTPError, RequestHandler

from sfere_tornado import ANY, Hub, InterceptorMixin, Registry, SSEHandler, broadcast, send

define("port", default=8002, help="where to listen on 127.0.0.1")


def start_clock(ctx):
    ctx.notes["started"] = time.perf_counter()


def stop_clock(ctx):
    print(
        f"{time.perf_counter() - ctx.notes['started']:.6f} s",
        [result.effect[0] for result in ctx.results],
        flush=True,
    )


def read_user(ctx):
    request = ctx.system.get("request")
    if request is None:
        return  # dispatched by the server itself, not by a request
    user = request.headers.get("X-User")
    if not user:
        raise HTTPError(401, reason="Say who you are in X-User")
    ctx.dispatch_data["user"] = user


def say_loudly(ctx):
    ctx.actions = [("say", item[1].upper()) if item[0] == "say" else item for item in ctx.actions]


measure = {"id": "measure", "before_dispatch": start_clock, "after_dispatch": stop_clock}
require_user = {"id": "require_user", "before_dispatch": read_user}
loud = {"id": "loud", "before_dispatch": say_loudly}

registry = Registry("example")


@registry.placeholder("user")
def user(data):
    """Return the name of the user who made the request."""
    return data.get("user", ("user",))


@registry.action("say")
def say(state, text):
    """Send a text to every stream, with the speaker's name.

    Args:
        text: what is said.
    """
    return [broadcast((ANY, ANY), send({"name": ("user",), "text": text}, event="said"))]


class Events(SSEHandler):
    interceptors = [require_user]

    def connection_key(self):
        return ("visitor", self.request.headers["X-User"])


class Say(InterceptorMixin, RequestHandler):
    interceptors = [require_user]

    def post(self):
        self.dispatch(("say", self.get_argument("text")))


hub = Hub(registries=[registry], interceptors=[measure])
routes = [("/events", Events), ("/say", Say), ("/shout", Say, {"interceptors": [loud]})]


async def main():
    hub.listen(Application(routes), options.port)
    await hub.run_until_signal()


if __name__ == "__main__":
    parse_command_line()
    asyncio.run(main())
