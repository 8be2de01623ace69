"""The package as it is built: version, placeholders, source distribution, changelog."""

import importlib.util
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import sfere_tornado

ROOT = Path(__file__).parents[1]


def module_of(path):
    """Load a script that is not part of the package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_version_is_written_once():
    """setup.py, the package and the installed metadata have the same version; one file has it."""
    printed = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip().splitlines()[-1] == sfere_tornado.__version__
    assert metadata.version("sfere_tornado") == sfere_tornado.__version__
    writing = [
        path.name
        for path in [*ROOT.glob("*.py"), *ROOT.glob("*.toml"), *ROOT.glob("sfere_tornado/**/*.py")]
        if sfere_tornado.__version__ in path.read_text(encoding="utf-8")
    ]
    assert writing == ["__init__.py"]


def test_placeholders_stand_in_setup_only():
    """One edit of setup.py gives the project its home and its contact."""
    files = [
        path
        for folder in ("", "docs", "sfere_tornado", "changelog.d", ".ci")
        for path in (ROOT / folder).glob("**/*" if folder else "*")
        if path.suffix in {".py", ".rst", ".toml", ".ini"} and "_build" not in path.parts
    ]
    naming = [path.name for path in files if "example.invalid" in path.read_text(encoding="utf-8")]
    assert naming == ["setup.py"]


def test_the_source_distribution_is_whole(tmp_path):
    """Every tracked file is in the source distribution, and nothing else."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: there is no list of tracked files to compare with")
    sdist = module_of(ROOT / ".ci/sdist.py")
    _, names = sdist.unpack(sdist.build(tmp_path), tmp_path)
    assert names == sdist.tracked()


def fragments(folder, **texts):
    """Write a changelog, and fragments for it."""
    folder.joinpath("CHANGELOG.rst").write_text(
        "Changelog\n=========\n\n0.1.0 (unreleased)\n------------------\n\nThe first version.\n"
    )
    folder.joinpath("changelog.d").mkdir()
    folder.joinpath("changelog.d/README.rst").write_text("How to write one.\n")
    for name, text in texts.items():
        folder.joinpath("changelog.d", name.replace("__", ".") + ".rst").write_text(text)


def test_fragments_become_a_section(tmp_path):
    """Fragments are put under the newest version by kind, each as an item, and then removed."""
    fragments(
        tmp_path,
        b__change="Renamed ``a`` to ``b``.\nUse ``b``.\n",
        a__change="First.\n",
        c__fix="Mended.\n",
    )
    changelog = module_of(ROOT / ".ci/changelog.py")
    assert changelog.main([str(tmp_path)]) == 0
    assert tmp_path.joinpath("CHANGELOG.rst").read_text() == (
        "Changelog\n=========\n\n0.1.0 (unreleased)\n------------------\n\nThe first version.\n\n"
        "Changed\n^^^^^^^\n\n- First.\n- Renamed ``a`` to ``b``.\n  Use ``b``.\n\n"
        "Fixed\n^^^^^\n\n- Mended.\n"
    )
    assert [path.name for path in tmp_path.joinpath("changelog.d").iterdir()] == ["README.rst"]


@pytest.mark.parametrize("name", ["a__chnage", "a", "a__b__c"])
def test_a_fragment_of_no_kind_is_refused(tmp_path, capsys, name):
    """A file whose kind is misspelt is named, and nothing is written."""
    fragments(tmp_path, **{name: "Text.\n"})
    changelog = module_of(ROOT / ".ci/changelog.py")
    before = tmp_path.joinpath("CHANGELOG.rst").read_text()
    assert changelog.main([str(tmp_path)]) == 1
    assert "NAME.change.rst" in capsys.readouterr().err
    assert tmp_path.joinpath("CHANGELOG.rst").read_text() == before


def test_every_fragment_has_a_kind():
    """The fragments of now can be put into the changelog."""
    changelog = module_of(ROOT / ".ci/changelog.py")
    assert changelog.wrong(ROOT / "changelog.d") == []


def test_fragments_are_items_of_plain_text():
    """A fragment has text, no heading, and lines of at most 100 characters."""
    for path in ROOT.glob("changelog.d/*.*.rst"):
        text = path.read_text(encoding="utf-8")
        assert text.strip(), path
        assert not re.search(r"^[=\-^~]{3,}$", text, re.MULTILINE), path
        assert max(map(len, text.splitlines())) <= 100, path
