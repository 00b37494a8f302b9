"""The repository itself: what must not be written in it, and what must be said."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def tracked_files():
    """Empty outside a checkout, as in a source archive: then pytest skips what they would feed."""
    if not (ROOT / ".git").exists():
        return []
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# Written so that this file does not match itself.
FORBIDDEN = {
    "an absolute path of some machine": re.compile(
        r"(?<![\w.~/-])/(?:hom[e]|roo[t]|wor[k]|User[s]|mn[t]|tmp/w[tv]?)(?:/|-)[\w.]"
    ),
    "a Windows path": re.compile(r"\b[A-Z]:\\User[s]"),
    "a package registry's host": re.compile(
        r"(?:(?:test\.)?pyp[i]\.org|pythonhoste[d]\.org|registry\.npmj[s]|[\w.]+\.debia[n]\.org"
        r"|proxy\.golan[g]|index\.crate[s]|conda\.anacond[a])"
    ),
}


def findings(text):
    """(line number, what) of everything in the text that must not be written."""
    return [
        (number, what)
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]


@pytest.mark.parametrize("path", tracked_files(), ids=str)
def test_file_names_no_machine_and_no_registry(path):
    try:
        text = (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = (ROOT / path).read_bytes().decode("latin-1")
    assert findings(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "see /{}/me/x".format("home"),
        "'/{}/main'".format("work"),
        "path=/{}/.cache".format("root"),
        "/{}/me".format("Users"),
        "(/tmp/{}/common)".format("w"),
        "https://{}.org/simple".format("pypi"),
        "https://files.{}.org/x".format("pythonhosted"),
        "https://deb.{}.org".format("debian"),
    ],
)
def test_planted_path_or_host_is_found(text):
    assert [number for number, _ in findings(f"first line\n{text}\n")] == [2]


@pytest.mark.parametrize(
    "text", ["sim/work/x", "./home/x", "build/cache", "from PyPI", "a /work of art", "docs/root/x"]
)
def test_other_text_is_left_alone(text):
    assert findings(text) == []


def dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    groups = [project["project"]["dependencies"], *extras, project["build-system"]["requires"]]
    return [requirement for group in groups for requirement in group]


@pytest.mark.parametrize("requirement", dependencies())
def test_dependency_says_why_and_has_a_range(requirement):
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines) if f'"{requirement}"' in line]
    before, same = lines[number - 1].strip(), lines[number].partition("#")[2]
    assert before.startswith("# ") or same.strip()
    assert ">=" in requirement


@pytest.mark.parametrize("requirement", dependencies())
def test_dependency_is_pinned_for_ci(requirement):
    name = re.match(r"[\w-]+", requirement)[0]
    pins = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert normal(name) in map(normal, pins)


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def makefile_targets():
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY:(.*)$", text, re.MULTILINE)[1].split()
    rules = re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE)
    return sorted({*phony, *rules})


# A description, and how long it takes on two cores.
HELP = re.compile(
    r"\S.*\((?:.*[ (;,])?(?:less than a second|seconds|half a minute|[\d ]+minutes?)\b.*\)"
)


@pytest.mark.parametrize("target", makefile_targets())
def test_makefile_target_has_help_and_is_phony(target):
    text = (ROOT / "Makefile").read_text()
    (found,) = re.findall(rf"^{target}:[^#\n]*## (.+)$", text, re.MULTILINE)
    assert HELP.fullmatch(found)
    assert target in re.search(r"^\.PHONY:(.*)$", text, re.MULTILINE)[1].split()


@pytest.mark.parametrize("text", ["ruff, check and format", "(2 minutes)", "all (installs 30 MB)"])
def test_help_without_a_description_or_a_time_is_found(text):
    assert not HELP.fullmatch(text)


def makefile_extras():
    """Extras whose stamps a target of the Makefile asks for."""
    text = (ROOT / "Makefile").read_text()
    names = re.findall(r"\.installed-([\w,]+)", text)
    return sorted({extra for name in names for extra in name.split(",")})


def test_stamps_in_the_makefile_are_named_after_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = set(project["project"]["optional-dependencies"])
    assert extras - {"sim", "board", "test"} == set(makefile_extras())


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_alone_prints_every_target_and_nothing_else():
    # Without what an outer make passes down: a nested one announces the folders it enters.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    printed = subprocess.run(
        ["make"], cwd=ROOT, env=alone, capture_output=True, text=True, check=True
    ).stdout
    lines = [re.fullmatch(r"  make ([\w-]+) +(\S.*)", line) for line in printed.splitlines()]
    assert all(lines)
    assert sorted(line[1] for line in lines) == makefile_targets()
