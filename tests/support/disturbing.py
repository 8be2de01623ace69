"""Applications that do what they may: replace what a dispatch holds, and override what they can.

None of it may change what the library promises, so scenario tests pass with each of these as well.
"""

import os
from pathlib import Path

from sfere_tornado import Hub, Registry, SSEMixin
from sfere_tornado.dispatch import effect

#: Name and description of each; ``none`` is the library undisturbed.
VARIANTS = {
    "tuple": "a stage replaces the effects by an equal tuple",
    "append": "a stage appends an effect to what is dispatched",
    "copies": "stages replace system and dispatch data by copies",
    "nosuper": "handlers override on_connection_close without super()",
}


#: The folder whose ``sitecustomize`` disturbs processes.
IN_PROCESSES = Path(__file__).parent / "in_processes"


def disturb(variant, replace):
    """Let every hub and handler be disturbed in one way.

    Args:
        variant: one of :data:`VARIANTS`.
        replace: sets an attribute, such as pytest's, which undoes it.
    """
    if variant == "nosuper":
        for cls in classes_below(SSEMixin):
            if "on_connection_close" in vars(cls):
                replace(cls, "on_connection_close", nothing)
    else:
        replace(Hub, "__init__", disturbed(Hub.__init__, STAGES[variant]))


def environment(variant):
    """Return the environment in which processes that a test starts are disturbed."""
    paths = [str(IN_PROCESSES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"SFERE_DISTURBANCE": variant, "PYTHONPATH": os.pathsep.join(paths)}


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
