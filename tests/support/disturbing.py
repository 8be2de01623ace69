"""Applications that do what they may: replace what a dispatch holds, and override what they can.

None of it may change what the library promises, so scenario tests pass with each of these as well.
"""

from sfere_tornado import Hub, Registry, SSEMixin
from sfere_tornado.dispatch import effect

#: Name and description of each; ``none`` is the library undisturbed.
VARIANTS = {
    "tuple": "a stage replaces the effects by an equal tuple",
    "append": "a stage appends an effect to what is dispatched",
    "copies": "stages replace system and dispatch data by copies",
    "nosuper": "handlers override on_connection_close without super()",
}


def disturb(variant, monkeypatch):
    """Let every hub and handler that a test makes be disturbed in one way."""
    if variant == "nosuper":
        for cls in classes_below(SSEMixin):
            if "on_connection_close" in vars(cls):
                monkeypatch.setattr(cls, "on_connection_close", nothing)
    else:
        monkeypatch.setattr(Hub, "__init__", disturbed(Hub.__init__, STAGES[variant]))


def disturbed(init, stages):
    """Return an ``__init__`` of hubs with an outermost interceptor."""
    registry = Registry("disturbing")
    registry.effect("audited")(lambda ctx: None)

    def prepared(hub, *arguments, interceptors=(), registries=(), **named):
        init(
            hub,
            *arguments,
            interceptors=[{"id": "disturbing", **stages}, *interceptors],
            registries=[registry, *registries],
            **named,
        )

    return prepared


def nothing(handler):
    """Override a method, and forget its parents'."""


def classes_below(cls):
    """Yield a class and all that inherit from it."""
    yield cls
    for below in cls.__subclasses__():
        yield from classes_below(below)


def to_tuple(ctx):
    ctx.actions = tuple(ctx.actions)


def append(ctx):
    ctx.actions = [*ctx.actions, effect("audited")]


def copy(ctx):
    ctx.system, ctx.dispatch_data = dict(ctx.system), dict(ctx.dispatch_data)


STAGES = {
    "tuple": {"before_dispatch": to_tuple},
    "append": {"before_dispatch": append},
    "copies": dict.fromkeys(
        ("before_dispatch", "before_effect", "after_effect", "after_dispatch"), copy
    ),
}
