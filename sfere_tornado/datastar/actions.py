"""Datastar: patches of a page and of its signals, each an action that becomes one ``send``.

``patch_elements``, ``patch_elements_seq``, ``remove_elements``, ``patch_signals`` and
``execute_script`` only put the text of an event together. What goes out is the effect ``send``, as
for every other event: interceptors see it there, and a broadcast encodes it once. Each action has a
constructor of the same name, which checks its options where they are written.

A string is HTML, or JavaScript, by the caller's word. Escape what came from people first, with
``html.escape``, a template or ``json.dumps``. An object with ``__html__`` has done that itself.
"""

from __future__ import annotations

from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, Final

from ..dispatch import Registry, effect
from ..effects.streams import close_sse, connection, send
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
    html_text,
    script_element,
    signals_json,
    signals_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from ..dispatch import Effect

__all__ = (
    "DEFAULT_RETRY",
    "MODES",
    "NAMESPACES",
    "Datastar",
    "Mode",
    "Namespace",
    "close_sse",
    "connection",
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

#: The types of Datastar's events.
_ELEMENTS: Final = "datastar-patch-elements"
_SIGNALS: Final = "datastar-patch-signals"


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
        elements: HTML, whole elements: a string, an object with ``__html__``, or a placeholder for
            either. It may be blank only in modes that can empty their target, such as ``inner``.
        selector: a CSS selector of the targets; without one each element replaces that with its id.
        mode: how, one of :data:`MODES`; all but ``outer`` and ``replace`` need a selector.
        namespace: one of :data:`NAMESPACES`.
        use_view_transition: let the browser animate the change, where it can.
        id: the event's, which comes back as ``Last-Event-ID``; an empty one is left out.
        retry: the client's new reconnection time in milliseconds; 0 and :data:`DEFAULT_RETRY`
            change nothing.
        conflate: as for :func:`~sfere_tornado.effects.streams.send`: a newer event of the name may
            replace an older one that waits.

    Returns:
        ``("patch_elements", elements)``, followed by a dict of the options that are not the
        default.

    Raises:
        EventError: when an option may not stand on the wire, or the client would refuse it.
    """
    check_html(elements)
    return _action(
        "patch_elements",
        elements,
        selector=selector,
        mode=mode,
        namespace=namespace,
        use_view_transition=use_view_transition,
        id=id,
        retry=retry,
        conflate=conflate,
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
    """Return the action that puts several elements into the page with one event.

    Args:
        elements: an iterable of what :func:`patch_elements` takes; blank ones are left out.
        selector: this and what follows: as for :func:`patch_elements`.
        mode: as above.
        namespace: as above.
        use_view_transition: as above.
        id: as above.
        retry: as above.
        conflate: as above.

    Raises:
        EventError: when ``elements`` is one string, and as for :func:`patch_elements`.
    """
    if isinstance(elements, (str, bytes)):
        raise EventError(
            "is one piece of HTML; patch_elements takes one, patch_elements_seq several", "elements"
        )
    several = list(elements)
    for each in several:
        check_html(each)
    return _action(
        "patch_elements_seq",
        several,
        selector=selector,
        mode=mode,
        namespace=namespace,
        use_view_transition=use_view_transition,
        id=id,
        retry=retry,
        conflate=conflate,
    )


def remove_elements(
    selector: str,
    *,
    use_view_transition: bool = False,
    id: str | None = None,  # noqa: A002  # as above
    retry: int | None = None,
) -> Effect:
    """Return the action that removes from the page all that a CSS selector matches.

    Args:
        selector: a CSS selector.
        use_view_transition: as for :func:`patch_elements`.
        id: as for :func:`patch_elements`.
        retry: as for :func:`patch_elements`.

    Raises:
        EventError: when the selector is blank, or an option is wrong.
    """
    check_line("selector", selector)
    return _action(
        "remove_elements", selector, use_view_transition=use_view_transition, id=id, retry=retry
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
        signals: a dict of JSON values, the text of a JSON object, or a placeholder for either.
        only_if_missing: leave alone the signals that the page has already.
        id: as for :func:`patch_elements`.
        retry: as for :func:`patch_elements`.
        conflate: as for :func:`patch_elements`.

    Raises:
        EventError: when ``signals`` is something else, or an option is wrong. NaN, and other values
            that JSON cannot say, are refused when the action is expanded, before anything is sent.
    """
    if not isinstance(signals, (dict, str, tuple)):
        raise EventError(
            f"must be a dict or the text of a JSON object, not {type(signals).__name__}", "signals"
        )
    return _action(
        "patch_signals",
        signals,
        only_if_missing=only_if_missing,
        id=id,
        retry=retry,
        conflate=conflate,
    )


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
        script: JavaScript, by the caller's word; put values into it with ``json.dumps``, never as
            they are. A ``</`` before a letter reaches the browser as ``<\/``, which in a string or
            a pattern means the same.
        auto_remove: take the script element out of the page when it has run.
        attributes: of the script element: strings or numbers, True for an attribute without a
            value, False or None to leave it out.
        id: as for :func:`patch_elements`.
        retry: as for :func:`patch_elements`.

    Raises:
        EventError: when the name of an attribute is not valid, or an option is wrong.
    """
    if not isinstance(script, (str, tuple)):
        raise EventError(f"must be a str, not {type(script).__name__}", "script")
    return _action(
        "execute_script",
        script,
        auto_remove=auto_remove,
        attributes=attributes,
        id=id,
        retry=retry,
    )


#: The options of each action with their defaults: the keyword arguments of its constructor.
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    constructor.__name__: {
        name: parameter.default
        for name, parameter in signature(constructor).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    for constructor in (
        patch_elements,
        patch_elements_seq,
        remove_elements,
        patch_signals,
        execute_script,
    )
}


def sse_get(url: str) -> str:
    """Return the expression that makes the page GET a URL, for an attribute such as ``data-init``.

    It is ``@get('/events')`` for ``/events``. Signs that could end the string, or a quoted
    attribute, are percent-encoded; a template escapes the rest.
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
        to_json: writes signals; by default compact JSON, and an error for a value that JSON cannot
            say.
        signals_as_state: give actions the state ``{"signals": ...}``, the signals that the page
            sent with its request. False where the application has a ``system_to_state`` of its own.
    """

    def __init__(
        self, *, to_json: Callable[[Any], str] = data_text, signals_as_state: bool = True
    ) -> None:
        super().__init__("datastar")
        self._to_json = to_json
        self.action("patch_elements")(self._patch_elements)
        self.action("patch_elements_seq")(self._patch_elements_seq)
        self.action("remove_elements")(self._remove_elements)
        self.action("patch_signals")(self._patch_signals)
        self.action("execute_script")(self._execute_script)
        if signals_as_state:
            self.system_to_state(_signals_state)

    def _patch_elements(
        self, state: Any, elements: Any, options: dict[str, Any] | None = None
    ) -> Effect:
        """Put elements into the page.

        Args:
            elements: HTML, a string or an object with ``__html__``.
            options: as the keyword arguments of :func:`patch_elements`.
        """
        whole = _checked("patch_elements", options)
        return _event(_ELEMENTS, elements_text(html_text(elements), whole), whole)

    def _patch_elements_seq(
        self, state: Any, elements: list[Any], options: dict[str, Any] | None = None
    ) -> Effect:
        """Put several elements into the page with one event.

        Args:
            elements: a list of HTML, each a string or an object with ``__html__``.
            options: as the keyword arguments of :func:`patch_elements_seq`.
        """
        if not isinstance(elements, (list, tuple)):
            raise EventError(f"must be a list, not {type(elements).__name__}", "elements")
        whole = _checked("patch_elements_seq", options)
        several = "\n".join(text for text in map(html_text, elements) if text.strip())
        return _event(_ELEMENTS, elements_text(several, whole), whole)

    def _remove_elements(
        self, state: Any, selector: str, options: dict[str, Any] | None = None
    ) -> Effect:
        """Remove elements from the page.

        Args:
            selector: a CSS selector.
            options: as the keyword arguments of :func:`remove_elements`.
        """
        whole = _checked("remove_elements", options)
        check_line("selector", selector)
        text = elements_text("", {**whole, "selector": selector, "mode": "remove"})
        return _event(_ELEMENTS, text, whole)

    def _patch_signals(
        self, state: Any, signals: dict[str, Any] | str, options: dict[str, Any] | None = None
    ) -> Effect:
        """Merge signals into those of the page.

        Args:
            signals: a dict, or the text of a JSON object; None removes a signal.
            options: as the keyword arguments of :func:`patch_signals`.
        """
        whole = _checked("patch_signals", options)
        text = signals_text(signals, self._to_json, only_if_missing=whole["only_if_missing"])
        return _event(_SIGNALS, text, whole)

    def _execute_script(
        self, state: Any, script: str, options: dict[str, Any] | None = None
    ) -> Effect:
        """Run JavaScript in the page.

        Args:
            script: JavaScript.
            options: as the keyword arguments of :func:`execute_script`.
        """
        whole = _checked("execute_script", options)
        element = script_element(
            script, whole["attributes"] or {}, auto_remove=whole["auto_remove"]
        )
        text = elements_text(element, {"selector": "body", "mode": "append"})
        return _event(_ELEMENTS, text, whole)


def _signals_state(system: Mapping[str, Any]) -> dict[str, Any]:
    return {"signals": system.get("signals", {})}


def _checked(name: str, options: Any) -> dict[str, Any]:
    return checked(name, _OPTIONS[name], options)


def _action(name: str, content: Any, **options: Any) -> Effect:
    _checked(name, options)
    defaults = _OPTIONS[name]
    own = {option: value for option, value in options.items() if value != defaults[option]}
    return effect(name, content, own) if own else effect(name, content)


def _event(name: str, text: str, options: dict[str, Any]) -> Effect:
    retry = None if options["retry"] in (0, DEFAULT_RETRY) else options["retry"]
    return send(
        text, event=name, id=options["id"] or None, retry=retry, conflate=options.get("conflate")
    )
