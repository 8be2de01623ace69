"""Effects as data: registries hold handlers, a dispatcher runs effects through interceptors.

An effect is a tuple ``("name", *arguments)``. What can be done by name is registered:

- an *effect* does something: ``handler(ctx, *arguments)``;
- an *action* decides what to do, from the state, and returns effects and actions: ``handler(state,
  *arguments)``;
- a *placeholder* is a tuple inside of an effect, filled in from the dispatch data:
  ``handler(dispatch_data, *arguments)``;
- an *interceptor* has stages that run around the dispatch, each action and each effect:
  ``stage(ctx)``.

This package knows neither HTTP nor connections, and imports nothing but the standard library and
the exceptions.
"""

from __future__ import annotations

from .context import Context, Kind
from .describe import Description, Parameter
from .dispatched import Dispatched, DispatchError, Phase, Result, start_task
from .dispatcher import Dispatcher, log_error
from .effect import Effect, Effects, effect
from .interceptors import STAGES, Chain, Interceptor, fail_fast
from .placeholders import MAX_PLACEHOLDER_DEPTH
from .registry import Registry
from .run import MAX_EXPANSION_DEPTH

__all__ = (
    "MAX_EXPANSION_DEPTH",
    "MAX_PLACEHOLDER_DEPTH",
    "STAGES",
    "Chain",
    "Context",
    "Description",
    "DispatchError",
    "Dispatched",
    "Dispatcher",
    "Effect",
    "Effects",
    "Interceptor",
    "Kind",
    "Parameter",
    "Phase",
    "Registry",
    "Result",
    "effect",
    "fail_fast",
    "log_error",
    "start_task",
)
