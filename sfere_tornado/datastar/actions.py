"""Datastar: patches of a page and of its signals, each an action that becomes one ``send``.

``patch_elements``, ``patch_elements_seq``, ``remove_elements``, ``patch_signals`` and ``execute_script`` only put the text
of an event together. What goes out is the effect ``send``, as for every other event: interceptors see it there, and a
broadcast encodes it once. Each has a constructor of the same name, which checks its options where they are written. The
effect ``close_sse`` ends a stream; it is that of every stream, and here for convenience.

A string is HTML, and JavaScript, by the caller's word: whatever came from people goes through ``html.escape``, a template
or ``json.dumps`` first. An object with ``__html__`` has done that itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dispatch import Registry, effect
from ..effects.streams import close_sse, receiver, send
from ..errors import EventError
from ..wire.event_stream import data_text
from .text import (
    DEFAULT_RETRY,
    MODES,
    NAMESPACES,
    Mode,
    Namespace,
    check_html,
    check_line,
    checked,
    elements_text,
    fetch_expression,
    given_options,
    html_text,
    script_element,
    signals_json,
    signals_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from ..dispatch import Context, Effect
    from ..streams.connection import Connection
    from ..streams.fanout import Fanout

__all__ = (
    "DEFAULT_RETRY",
    "MODES",
    "NAMESPACES",
    "Mode",
    "Namespace",
    "close_sse",
    "connection",
    "Datastar",
    "execute_script",
    "patch_elements",
    "patch_elements_seq",
    "patch_signals",
    "remove_elements",
    "signals_json",
    "sse_delete",
    "sse_get",
    "sse_patch",
    "sse_post",
    "sse_put",
)


def patch_elements(
    elements: Any,
    *,
    selector: str | None = None,
    mode: Mode = "outer",
    namespace: Namespace = "html",
    use_view_transition: bool = False,
    id: str | None = None,  # noqa: A002  # the field's name in the standard
    retry: int | None = None,
    conflate: Hashable = None,
) -> Effect:
    """Return the action that puts elements into the page.

    Args:
        elements: HTML, whole elements: a string, or an object with ``__html__``; or a placeholder for one. Blank only
            in modes in which that can mean something, such as ``inner``.
        selector: a CSS selector of the targets; without one each element goes where the element with its id is.
        mode: how, one of :data:`MODES`; all but ``outer`` and ``replace`` need a selector.
        namespace: one of :data:`NAMESPACES`.
        use_view_transition: let the browser animate the change, where it can.
        id: the event's, which comes back as ``Last-Event-ID``; an empty one is none.
        retry: the client's new reconnection time in milliseconds; 0 and :data:`DEFAULT_RETRY` change nothing.
        conflate: as for :func:`~sfere_tornado.effects.streams.send`: a newer event of the name may replace an older one.

    Returns:
        ``("patch_elements", elements)``, followed by a dict of the options that are not the default.

    Raises:
        EventError: when an option may not stand on the wire, or the client would refuse it.
    """
    check_html(elements)
    where = {
        "selector": selector,
        "mode": mode,
        "namespace": namespace,
        "use_view_transition": use_view_transition,
    }
    return _action(
        "patch_elements", elements, {**where, "id": id, "retry": retry, "conflate": conflate}
    )


def patch_elements_seq(
    elements: Iterable[Any],
    *,
    selector: str | None = None,
    mode: Mode = "outer",
    namespace: Namespace = "html",
    use_view_transition: bool = False,
    id: str | None = None,  # noqa: A002  # as above
    retry: int | None = None,
    conflate: Hashable = None,
) -> Effect:
    """Return the action that puts several elements into the page with one event; blank ones are left out.

    Args and errors as for :func:`patch_elements`, but that ``elements`` is an iterable of such.
    """
    if isinstance(elements, (str, bytes)):
        raise EventError(
            "is one piece of HTML; patch_elements takes one, patch_elements_seq several", "elements"
        )
    several = list(elements)
    for one in several:
        check_html(one)
    where = {
        "selector": selector,
        "mode": mode,
        "namespace": namespace,
        "use_view_transition": use_view_transition,
    }
    return _action(
        "patch_elements_seq", several, {**where, "id": id, "retry": retry, "conflate": conflate}
    )


def remove_elements(
    selector: str,
    *,
    use_view_transition: bool = False,
    id: str | None = None,  # noqa: A002  # as above
    retry: int | None = None,
) -> Effect:
    """Return the action that removes from the page whatever a CSS selector matches; other arguments as above."""
    check_line("selector", selector)
    return _action(
        "remove_elements",
        selector,
        {"use_view_transition": use_view_transition, "id": id, "retry": retry},
    )


def patch_signals(
    signals: Any,
    *,
    only_if_missing: bool = False,
    id: str | None = None,  # noqa: A002  # as above
    retry: int | None = None,
    conflate: Hashable = None,
) -> Effect:
    """Return the action that merges signals into those of the page (RFC 7386: None removes one).

    Args:
        signals: a dict that JSON can say, or the text of a JSON object; or a placeholder for one.
        only_if_missing: leave alone what the page has already.
        id: as for :func:`patch_elements`.
        retry: as for :func:`patch_elements`.
        conflate: as for :func:`patch_elements`.

    Raises:
        EventError: when signals are something else, or an option is wrong; NaN and what else JSON cannot say is
            refused when the action is expanded, before anything is sent.
    """
    if not isinstance(signals, (dict, str, tuple)):
        raise EventError(
            f"must be a dict or the text of a JSON object, not {type(signals).__name__}", "signals"
        )
    options = {"only_if_missing": only_if_missing, "id": id, "retry": retry, "conflate": conflate}
    return _action("patch_signals", signals, options)


def execute_script(
    script: str,
    *,
    auto_remove: bool = True,
    attributes: dict[str, Any] | None = None,
    id: str | None = None,  # noqa: A002  # as above
    retry: int | None = None,
) -> Effect:
    r"""Return the action that runs JavaScript in the page.

    Args:
        script: JavaScript, by the caller's word; values go into it through ``json.dumps``, never as they are. A ``</``
            before a letter reaches the browser as ``<\/``, which in a string or a pattern means the same.
        auto_remove: take the script element out of the page again.
        attributes: of the script element; values are strings or numbers, True for an attribute without a value, False
            or None for none.
        id: as for :func:`patch_elements`.
        retry: as for :func:`patch_elements`.

    Raises:
        EventError: when an attribute's name could not be one, or an option is wrong.
    """
    if not isinstance(script, (str, tuple)):
        raise EventError(f"must be a str, not {type(script).__name__}", "script")
    options = {"auto_remove": auto_remove, "attributes": attributes, "id": id, "retry": retry}
    return _action("execute_script", script, options)


def connection() -> tuple[Any, ...]:
    """Return the effect whose result is the connection, or fan-out, of the dispatch."""
    return ("connection",)


def sse_get(url: str) -> str:
    """Return the expression with which an attribute makes the page GET a URL, such as ``data-init``: ``@get('/events')``.

    What could end the string, or a quoted attribute, is percent-encoded; a template escapes the rest.
    """
    return fetch_expression("get", url)


def sse_post(url: str) -> str:
    """Return the expression for POST; see :func:`sse_get`."""
    return fetch_expression("post", url)


def sse_put(url: str) -> str:
    """Return the expression for PUT; see :func:`sse_get`."""
    return fetch_expression("put", url)


def sse_patch(url: str) -> str:
    """Return the expression for PATCH; see :func:`sse_get`."""
    return fetch_expression("patch", url)


def sse_delete(url: str) -> str:
    """Return the expression for DELETE; see :func:`sse_get`."""
    return fetch_expression("delete", url)


class Datastar(Registry):
    """The actions for Datastar pages, for ``Hub(registries=[Datastar()])``.

    Args:
        to_json: writes signals; by default compact JSON that refuses what JSON cannot say.
        signals_as_state: give actions the state ``{"signals": ...}``, what the page sent with its
            request. False where the application has a ``system_to_state`` of its own.
    """

    def __init__(
        self, *, to_json: Callable[[Any], str] = data_text, signals_as_state: bool = True
    ) -> None:
        super().__init__("datastar")
        registry = self

        @registry.action("patch_elements")
        def patch_elements_action(
            state: Any, elements: Any, options: dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]:
            """Put elements into the page.

            Args:
                elements: HTML, a string or an object with ``__html__``.
                options: any of ``selector``, ``mode``, ``namespace``, ``use_view_transition``, ``id``, ``retry``,
                    ``conflate``.
            """
            found = checked("patch_elements", options)
            return [
                _event("datastar-patch-elements", elements_text(html_text(elements), found), found)
            ]

        @registry.action("patch_elements_seq")
        def patch_elements_seq_action(
            state: Any, elements: list[Any], options: dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]:
            """Put several elements into the page with one event.

            Args:
                elements: a list of HTML, each a string or an object with ``__html__``.
                options: as for ``patch_elements``.
            """
            if not isinstance(elements, (list, tuple)):
                raise EventError(f"must be a list, not {type(elements).__name__}", "elements")
            found = checked("patch_elements_seq", options)
            several = "\n".join(text for text in map(html_text, elements) if text.strip())
            return [_event("datastar-patch-elements", elements_text(several, found), found)]

        @registry.action("remove_elements")
        def remove_elements_action(
            state: Any, selector: str, options: dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]:
            """Remove elements from the page.

            Args:
                selector: a CSS selector.
                options: any of ``use_view_transition``, ``id``, ``retry``.
            """
            found = checked("remove_elements", options)
            check_line("selector", selector)
            text = elements_text("", {**found, "selector": selector, "mode": "remove"})
            return [_event("datastar-patch-elements", text, found)]

        @registry.action("patch_signals")
        def patch_signals_action(
            state: Any, signals: dict[str, Any] | str, options: dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]:
            """Merge signals into those of the page.

            Args:
                signals: a dict, or the text of a JSON object; None removes a signal.
                options: any of ``only_if_missing``, ``id``, ``retry``, ``conflate``.
            """
            found = checked("patch_signals", options)
            text = signals_text(signals, to_json, only_if_missing=found["only_if_missing"])
            return [_event("datastar-patch-signals", text, found)]

        @registry.action("execute_script")
        def execute_script_action(
            state: Any, script: str, options: dict[str, Any] | None = None
        ) -> list[tuple[Any, ...]]:
            """Run JavaScript in the page.

            Args:
                script: JavaScript.
                options: any of ``auto_remove``, ``attributes``, ``id``, ``retry``.
            """
            found = checked("execute_script", options)
            script_tag = script_element(
                script, found["attributes"] or {}, auto_remove=found["auto_remove"]
            )
            text = elements_text(script_tag, {"selector": "body", "mode": "append"})
            return [_event("datastar-patch-elements", text, found)]

        @registry.effect("connection", system_keys=["sse"])
        def connection_effect(ctx: Context) -> Connection | Fanout:
            """Return the connection, or fan-out, of the dispatch."""
            return receiver(ctx, "connection")

        if signals_as_state:

            @registry.system_to_state
            def signals_state(system: dict[str, Any]) -> dict[str, Any]:
                return {"signals": system.get("signals", {})}


def _action(name: str, content: Any, options: dict[str, Any]) -> Effect:
    found = given_options(name, options)
    return effect(name, content, found) if found else effect(name, content)


def _event(name: str, text: str, options: dict[str, Any]) -> tuple[Any, ...]:
    retry = None if options["retry"] in (0, DEFAULT_RETRY) else options["retry"]
    return send(
        text, event=name, id=options["id"] or None, retry=retry, conflate=options.get("conflate")
    )
