"""The text of Datastar's events, version 1 of the protocol; knows no dispatch.

There are two types of event, ``datastar-patch-elements`` and ``datastar-patch-signals``. Each line
of their data is a name, one space and a value: first the options that are not the default, then the
content, each of its lines with the name before it. An empty line of HTML is ``elements`` and the
space: without the space the client loses it.

Laws:

- **Content is the caller's, and changed in its line ends only.**
- **What stands on one line cannot leave it**: options with CR, LF or NUL are refused, because
  they could add lines. What the client would refuse, such as an unknown mode, is refused too.
- **A script cannot end its own element**, and values of attributes are escaped.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args
from urllib.parse import quote

from ..errors import EffectShapeError, EventError, hint
from ..wire.event_stream import Event, data_lines, data_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = (
    "DEFAULT_RETRY",
    "MODES",
    "NAMESPACES",
    "Mode",
    "Namespace",
    "check_html",
    "check_line",
    "checked",
    "elements_text",
    "fetch_expression",
    "html_text",
    "refuse_constant",
    "script_element",
    "signals_json",
    "signals_text",
)

Mode: TypeAlias = Literal[
    "outer", "inner", "replace", "prepend", "append", "before", "after", "remove"
]
Namespace: TypeAlias = Literal["html", "svg", "mathml"]

#: How elements are put into the page. ``outer`` and ``inner`` morph, so that what did not change
#: keeps its state.
MODES: Final[tuple[Mode, ...]] = get_args(Mode)

#: In which namespace the browser makes the elements.
NAMESPACES: Final[tuple[Namespace, ...]] = get_args(Namespace)

#: Milliseconds after which Datastar comes back by itself; never sent, for it says nothing new.
DEFAULT_RETRY: Final = 1000

#: Modes that find their target by the ids of the elements when there is no selector.
_BY_ID: Final = ("outer", "replace")

#: A name of an attribute (WHATWG HTML, 13.1.2.3): no white space or control characters, none of
#: these signs.
_ATTRIBUTE: Final = re.compile(r"""[^\s"'<>/=\x00-\x1f\x7f-\x9f]+""")

#: What could end a script's element, or be taken for the end of a page (WHATWG HTML, 4.12.1.3).
_END_TAG: Final = re.compile(r"</(?=[a-z])", re.IGNORECASE)

#: Signs that mean something in HTML, or in an expression of Datastar, also inside a string there.
_SIGNS: Final = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&'$@"}

#: What may stand in the address of a fetch as it is: all that cannot end the string, the attribute
#: or the statement, and cannot be taken for a signal or an action of the page.
_SAFE_IN_URL: Final = "/:?#[]!&()*+,=%-._~"


def checked(action: str, known: Mapping[str, Any], options: Any) -> dict[str, Any]:
    """Return the options of an action, checked, with the defaults of those that are left out.

    Args:
        action: its name, for the errors.
        known: its options with their defaults.
        options: a dict of options, or None.

    Raises:
        EventError: for an unknown option, with the nearest right one, and for a value that may not
            stand on the wire or that the client would refuse.
        EffectShapeError: when the options are not a dict.
    """
    if options is not None and not isinstance(options, dict):
        raise EffectShapeError(f"the options of {action} are a dict", options)
    whole = {**known, **(options or {})}
    for option in whole:
        if option not in known:
            raise EventError(f"is not an option of {action}; {hint(option, known)}", str(option))
    for option in ("use_view_transition", "only_if_missing", "auto_remove"):
        if not isinstance(whole.get(option, False), bool):
            raise EventError(f"is True or False, not {whole[option]!r}", option)
    if "mode" in known:
        _check_target(whole)
    if whole.get("attributes") is not None:
        _check_attributes(whole["attributes"])
    Event("", id=whole["id"], retry=whole["retry"])
    return whole


def elements_text(elements: str, options: dict[str, Any]) -> str:
    """Return the data of an event that patches elements.

    Args:
        elements: HTML; blank only in modes in which that can mean something.
        options: as :func:`checked` returns them; what is missing is the default.

    Raises:
        EventError: when there is nothing to patch.
    """
    mode = options.get("mode", "outer")
    lines = [f"selector {options['selector']}"] if options.get("selector") else []
    if mode != "outer":
        lines.append(f"mode {mode}")
    if options.get("use_view_transition"):
        lines.append("useViewTransition true")
    if options.get("namespace", "html") != "html":
        lines.append(f"namespace {options['namespace']}")
    if elements.strip():
        lines += [f"elements {line}" for line in data_lines(elements)]
    elif mode in _BY_ID:
        raise EventError(
            "is blank, so there is nothing to patch; remove_elements(...) removes", "elements"
        )
    return "\n".join(lines)


def signals_text(signals: Any, to_json: Callable[[Any], str], *, only_if_missing: bool) -> str:
    """Return the data of an event that patches signals.

    Args:
        signals: a dict, or the text of a JSON object.
        to_json: writes a dict.
        only_if_missing: leave alone what the page has already.

    Raises:
        EventError: for anything else, and for what JSON cannot say.
    """
    if isinstance(signals, dict):
        text = to_json(signals)
    else:
        text = signals
        try:
            value = (
                json.loads(text, parse_constant=refuse_constant) if isinstance(text, str) else None
            )
        except (ValueError, RecursionError) as error:
            raise EventError(f"is not valid JSON ({error})", "signals") from error
        if not isinstance(value, dict):
            raise EventError("must be a dict, or the text of a JSON object", "signals")
    lines = [f"signals {line}" for line in data_lines(text)]
    return "\n".join(["onlyIfMissing true", *lines] if only_if_missing else lines)


def script_element(script: Any, attributes: dict[str, Any], *, auto_remove: bool) -> str:
    """Return the element that runs a script.

    Args:
        script: JavaScript.
        attributes: of the element: strings or numbers, True for an attribute without a value, False
            or None for none.
        auto_remove: let the element take itself out of the page again.

    Raises:
        EventError: when the script is no string.
    """
    if not isinstance(script, str):
        raise EventError(f"must be a str, not {type(script).__name__}", "script")
    written_as = {**attributes, "data-effect": "el.remove()"} if auto_remove else attributes
    written = "".join(_attribute(name, value) for name, value in written_as.items())
    inside = _END_TAG.sub(r"<\\/", script).replace("<!--", r"\x3C!--")
    return f"<script{written}>{inside}</script>"


def signals_json(signals: dict[str, Any]) -> str:
    """Return signals for the attribute ``data-signals``, in which Datastar reads JavaScript.

    Plain JSON would not do for what came from people: ``$name`` and ``@get(`` mean something in an
    expression, also inside of its strings. So those signs are escaped as JSON allows, and those of
    HTML with them: what is returned can stand between single quotation marks as it is, and between
    any in a template that escapes.

    Raises:
        EventError: for what JSON cannot say.
    """
    return data_text(signals).translate(_SIGNS)


def fetch_expression(verb: str, url: str) -> str:
    """Return the expression that makes the page fetch a URL; see :func:`.actions.sse_get`."""
    return f"@{verb}('{quote(url, safe=_SAFE_IN_URL)}')"


def html_text(value: Any, field: str = "elements") -> str:
    """Return HTML as a plain string.

    Args:
        value: a string, which is HTML by the caller's word, or an object with ``__html__``.
        field: what the error names.

    Raises:
        EventError: for anything else.
    """
    text = value.__html__() if hasattr(type(value), "__html__") else value
    if not isinstance(text, str):
        raise EventError(
            f"must be a str, or an object with __html__, not {type(value).__name__}", field
        )
    # Exactly a str: what is safe markup by its type escapes what it is joined with.
    return str.__str__(text)


def check_html(value: Any) -> None:
    """Check that something can be HTML, or a placeholder for it, without asking it for its text.

    Raises:
        EventError: when it cannot.
    """
    if not isinstance(value, (str, tuple)) and not hasattr(type(value), "__html__"):
        raise EventError(
            f"must be a str, or an object with __html__, not {type(value).__name__}", "elements"
        )


def check_line(option: str, value: Any) -> None:
    """Check what has to stand on one line.

    Raises:
        EventError: when it is no string, blank, or could add lines.
    """
    if not isinstance(value, str) or not value.strip():
        raise EventError(f"must be a str that is not blank, not {value!r}", option)
    if "\n" in value or "\r" in value or "\0" in value:
        raise EventError(
            f"must have no CR, LF or NUL, which could add lines; got {value!r}", option
        )


def _check_target(options: dict[str, Any]) -> None:
    if options["selector"] in (None, ""):
        options["selector"] = None
    else:
        check_line("selector", options["selector"])
    for option, known in (("mode", MODES), ("namespace", NAMESPACES)):
        if options[option] not in known:
            raise EventError(
                f"there is no {options[option]!r}; {hint(options[option], known)}", option
            )
    if options["selector"] is None and options["mode"] not in _BY_ID:
        raise EventError(
            f"{options['mode']!r} needs a selector: the client refuses it without", "mode"
        )


def _check_attributes(attributes: Any) -> None:
    # A dict, not ready text: text could have anything in it that came from a client.
    if not isinstance(attributes, dict):
        raise EventError('is a dict, such as {"type": "module"}', "attributes")
    for name in attributes:
        if not isinstance(name, str) or not _ATTRIBUTE.fullmatch(name):
            raise EventError(f"{name!r} cannot be the name of an attribute", "attributes")


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    # A line end in a value would be one of the event; a CR would not even come back as one.
    return f' {name}="{escape(str(value)).replace(chr(13), "&#13;").replace(chr(10), "&#10;")}"'


def refuse_constant(name: str) -> None:
    """Refuse NaN and infinity in a JSON text, which Python would read (RFC 8259, 6).

    Raises:
        ValueError: always; ``json.loads`` calls this with the name of the constant.
    """
    raise ValueError(f"{name} is not a number of JSON")
