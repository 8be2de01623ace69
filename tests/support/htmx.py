"""The scripts of htmx 2 and 4 with their extensions for event streams, for browsers in tests: from the package django-htmx."""

from importlib import metadata
from pathlib import Path

#: Why there are none, where there are none.
MISSING = (
    "htmx's scripts are not here; pip install --no-deps django-htmx (its version 1.29 or newer)"
)


def _find():
    try:
        found = metadata.distribution("django-htmx").locate_file("django_htmx/static/django_htmx")
    except metadata.PackageNotFoundError:
        return None
    folder = Path(found)
    return folder if (folder / "ext" / "hx-sse-2.min.js").exists() else None


#: The folder with ``htmx-2.min.js``, ``ext/hx-sse-2.min.js`` and the same for 4.
SCRIPTS = _find()
