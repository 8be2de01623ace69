"""How the package is built and what it needs; tool settings are in ``pyproject.toml``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

#: Placeholders, named here only, until the project has a public home: where the repository is, and
#: the address that SECURITY.rst asks to write to.
HOME = "https://example.invalid/sfere_tornado"
CONTACT = "security@example.invalid"


def version() -> str:
    """Return the version; it is written in ``sfere_tornado/__init__.py`` only."""
    text = (HERE / "sfere_tornado" / "__init__.py").read_text(encoding="utf-8")
    line = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if line is None:
        raise ValueError("sfere_tornado/__init__.py has no line __version__ = ...; add it")
    return line[1]


TESTING = [
    "aiohttp>=3.11,<4",  # a client in tests only, like httpx and requests
    "coverage>=7.6,<8",
    "datastar-py>=1,<2",  # the encoder is compared with it
    "docutils>=0.21",
    "htpy>=24,<27",  # makes HTML in tests, like jinja2 and markupsafe
    "httpx>=0.28,<1",
    "jinja2>=3.1,<4",
    "markupsafe>=2.1,<4",
    "mypy>=2.1,<3",  # checks the blocks of README and docs
    "hypothesis>=6.120,<7",
    "playwright>=1.50,<2",  # drives the system's Chromium, not its own builds
    "pytest>=8,<10",  # pytest-tornado 0.8.1 does not work with 10
    "pytest-tornado>=0.8.1,<0.9",
    "requests>=2.32,<3",
    "setuptools<82",  # pytest-tornado 0.8.1 imports pkg_resources
    "sybil>=9,<11",  # runs the code blocks of README and docs
    "trustme>=1.2,<2",
    "types-PyYAML>=6,<7",
]
LINTING = [
    "mypy>=2.1,<3",
    "pyright[nodejs]==1.1.414",  # with the Node.js that it runs on
    "ruff>=0.17,<0.18",
    "types-PyYAML>=6,<7",
]
BENCHMARKING = [
    # The contenders, and what they run on.
    "aiohttp>=3.14,<4",
    "aiohttp-sse>=3,<4",
    "httptools>=0.8,<1",
    "sse-starlette>=3.7,<4",
    "starlette>=1.10,<2",
    "uvicorn>=0.54,<1",
    "uvloop>=0.23,<1",
    "trustme>=1.2,<2",  # certificates for the measurement of TLS
]
DOCS = ["furo>=2025.7", "sphinx>=8,<10"]

setup(
    name="sfere_tornado",
    version=version(),
    description="Open event streams by key for Tornado: effects, interceptors, presence",
    long_description=(HERE / "README.rst").read_text(encoding="utf-8"),
    long_description_content_type="text/x-rst",
    url=HOME,
    project_urls={
        "Source": HOME,
        "Issues": f"{HOME}/issues",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.rst",
        "Documentation": f"{HOME}/tree/main/docs",
    },
    maintainer="The sfere_tornado project",
    maintainer_email=CONTACT,
    license="MIT",
    license_files=["LICENSE"],
    packages=find_packages(include=["sfere_tornado", "sfere_tornado.*"]),
    package_data={"sfere_tornado": ["py.typed", "web/static/*.js"]},
    python_requires=">=3.11",
    install_requires=["tornado>=6.5,<7", "pyyaml>=6,<7"],
    extras_require={
        # The demo needs only the package; the name keeps its command the same.
        "demo": [],
        "test": TESTING,
        "lint": LINTING,
        "docs": DOCS,
        "bench": BENCHMARKING,
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: AsyncIO",
        "Intended Audience :: Developers",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Typing :: Typed",
    ],
)
