"""Whatever the application supplies may raise: logged once, nothing leaked, the others served."""

import pytest
from support.census import leave_all
from support.waiting import eventually
from tornado.web import Application, RequestHandler

from sfere_tornado import ANY, Hub, InterceptorMixin, Registry, SSEHandler, broadcast, send
from sfere_tornado.dispatch import STAGES
from sfere_tornado.testing import StreamClient

EVERYBODY = (ANY, ANY)


class HookFailedError(Exception):
    """Raised by the hook under test, for the client named ``ill``."""


class Lobby:
    """An application each of whose hooks can be made to fail for the client ``ill``."""

    def __init__(self, hook):
        self.left = []
        #: How often the hook has raised; the number is in the exception's text.
        self.failures = 0
        lobby = self

        def fail_at(name):
            def fail(*args):
                if name == hook and lobby.concerned(*args):
                    lobby.failures += 1
                    raise HookFailedError(f"number {lobby.failures}.")

            return fail

        registry = Registry("lobby")
        registry.effect("effect")(fail_at("effect"))
        registry.placeholder("placeholder")(lambda data: fail_at("placeholder")(data) or "text")

        @registry.action("action")
        def action(state):
            fail_at("action")(state)
            return [("effect",), broadcast(EVERYBODY, send(("placeholder",)))]

        @registry.system_to_state
        def state(system):
            fail_at("system_to_state")(system)
            return system

        class Events(SSEHandler):
            def connection_key(self):
                fail_at("connection_key")(self)
                return ("lobby", self.get_query_argument("name"))

            def on_open(self, connection):
                fail_at("on_open")(self)
                return ("action",)

            def on_close(self, connection):
                fail_at("on_close")(self)

        class Say(InterceptorMixin, RequestHandler):
            def post(self):
                fail_at("verb")(self)
                self.dispatch(broadcast(EVERYBODY, send(self.get_query_argument("text"))))

        def id_fn(ctx):
            fail_at("id_fn")(ctx)
            return "default"

        stages = {stage: fail_at(stage) for stage in STAGES}
        self.hub = Hub(
            registries=[registry], interceptors=[{"id": "failing", **stages}], id_fn=id_fn
        )

        @self.hub.on_evict
        def left(key, connection, cause):
            self.left.append((key.id, cause))
            fail_at("on_evict")(key)

        self.app = Application([("/events", Events), ("/say", Say)], sfere=self.hub)

    @staticmethod
    def concerned(about, *rest):
        """Whether a hook was called for the client ``ill``."""
        if hasattr(about, "id"):
            return about.id == "ill"
        system = getattr(about, "system", about)
        handler = system.get("handler") if isinstance(system, dict) else about
        request = getattr(handler, "request", None)
        return request is None or request.query_arguments.get("name") == [b"ill"]


HOOKS = [
    *STAGES,
    "effect",
    "action",
    "placeholder",
    "system_to_state",
    "connection_key",
    "id_fn",
    "on_open",
    "on_close",
    "on_evict",
    "verb",
]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.gen_test(timeout=20)
async def test_a_failing_hook_harms_nobody_else(serve, hook, caplog):
    """The failing client is answered or served; the others chat on; each failure is logged once; nothing is left."""
    lobby = Lobby(hook)
    hub = lobby.hub
    url = serve(lobby.app)
    census = serve.census(hub)
    well = await StreamClient.open(url + "/events?name=well")
    ill = await StreamClient.open(url + "/events?name=ill")
    said = await StreamClient.open(url + "/say?name=ill&text=spoken", method="POST", body=b"x")
    ill.close()
    await eventually(
        lambda: [key.id for key in hub.store.keys()] == ["well"] and len(hub.streams) == 1
    )
    async with await StreamClient.open(
        url + "/say?name=well&text=on", method="POST", body=b"x"
    ) as answer:
        assert answer.status == 200
    while (await well.event()).data != "on":
        pass

    logged = [
        record.exc_text.rstrip()
        for record in caplog.records
        if "HookFailedError" in (record.exc_text or "")
    ]
    assert lobby.failures > 0
    assert len(logged) == lobby.failures
    for number in range(1, lobby.failures + 1):
        # The last line is the exception itself; those above may be what it came from.
        assert len([text for text in logged if text.endswith(f": number {number}.")]) == 1
    assert said.status in {200, 500}
    assert lobby.left in ([], [("ill", "explicit")])
    await leave_all([well, said])
    await census.empty()
    assert hub.store.keys() == []
    assert lobby.left[-1] == ("well", "explicit")
