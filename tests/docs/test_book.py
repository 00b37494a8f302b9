"""The book: its snippets say what they print, and it builds without a warning."""

import doctest
import html
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MISSING = [name for name in ("sphinx", "furo", "myst_parser") if not importlib.util.find_spec(name)]


class Page:
    """Runs a page's snippets one after the other, in a folder of their own.

    `python` fences with a prompt are doctests, `console` fences are commands and what they print,
    both with `...` for what differs from run to run; a `yaml` fence that opens with a comment of a
    file's name is that file.
    """

    def __init__(self, folder):
        self.folder, self.names, self.ran = folder, {}, 0

    def run(self, text):
        for kind, code in FENCE.findall(text):
            if kind == "yaml" and (named := re.match(r"# ([\w.]+\.yaml)\n", code)):
                (self.folder / named[1]).write_text(code)
            elif kind == "console":
                self.console(code)
            elif kind == "python" and ">>> " in code:
                self.python(code)

    def python(self, code):
        test = doctest.DocTestParser().get_doctest(code, {}, "page", None, 0)
        test.globs = self.names
        reports = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
        runner.run(test, out=reports.append, clear_globs=False)
        assert not reports, "".join(reports)
        self.ran += len(test.examples)

    def console(self, code):
        for block in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
            command, _, wanted = block.partition("\n")
            program, *arguments = shlex.split(command)
            assert program == "python", f"not a command that is run here: {command}"
            printed = subprocess.run(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert printed.returncode == 0, f"{command}: {printed.stderr}"
            seen = "".join(f"{line.rstrip()}\n" for line in printed.stdout.splitlines())
            same = doctest.OutputChecker().check_output(wanted, seen, doctest.ELLIPSIS)
            assert same, f"{command} prints\n{seen}"
            self.ran += 1


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("api.md", "tutorial.md")]


@pytest.mark.parametrize("name", ["quickstart.md", *SLOW])
def test_page_prints_what_it_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Page(tmp_path)
    page.run((DOCS / name).read_text())
    assert page.ran > 5


def test_every_page_with_snippets_is_run():
    kinds = {
        path.name
        for path in DOCS.glob("*.md")
        for kind, code in FENCE.findall(path.read_text())
        if kind == "console" or ">>> " in code
    }
    assert kinds == {"api.md", "quickstart.md", "tutorial.md"}


@pytest.mark.parametrize(
    ("snippet", "message"),
    [
        ("```python\n>>> 1 + 1\n3\n```", "Got:\n"),
        ("```console\n$ python -c 'print(2)'\n3\n```", "prints\n"),
        ("```console\n$ python -c 'exit(2)'\n```", "exit"),
        ("```console\n$ rm x\n```", "not a command that is run here: rm x"),
    ],
)
def test_planted_wrong_output_is_caught(snippet, message, tmp_path):
    with pytest.raises(AssertionError, match=re.escape(message)):
        Page(tmp_path).run(snippet)


def tables_of_contents():
    """What conf.py makes of index.md: (kind, content) of each fence."""
    return FENCE.findall(loaded("conf").contents((DOCS / "index.md").read_text()))


def loaded(stem):
    """A module of the folder of the book, which is no package."""
    spec = importlib.util.spec_from_file_location(stem, DOCS / f"{stem}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_table_of_contents():
    listed = [
        name
        for kind, entries in tables_of_contents()
        for name in entries.split("\n")
        if kind == "{toctree}" and name and not name.startswith(":")
    ]
    assert sorted(listed) == sorted(p.stem for p in DOCS.glob("*.md") if p.stem != "index")


# What Sphinx would act on and a code host would show as it is.
DIRECTIVE = re.compile(r"^```\{|^\.\. [\w-]+::|^:::|\{\w+\}`", re.MULTILINE)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_page_is_plain_markdown(page):
    assert DIRECTIVE.findall(page.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "Text.\n\n```{eval-rst}\n.. automodule:: x\n```",
        "```{include} y.md\n```",
        ".. automodule:: x",
        ":::{note}\nText.\n:::",
        "as {doc}`x` says",
    ],
)
def test_planted_directive_is_caught(text):
    assert DIRECTIVE.search(text)


@pytest.mark.parametrize("text", ["```python\nx\n```", "see .. and ::", "`{-1, 0, +1}`"])
def test_plain_markdown_is_no_directive(text):
    assert not DIRECTIVE.search(text)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_tables_of_data_are_those_of_the_data(page):
    text = page.read_text()
    assert loaded("generated").filled(text) == text


def test_every_table_of_data_is_in_one_page():
    generated = loaded("generated")
    opened = [name for page in DOCS.glob("*.md") for name in generated.opened(page.read_text())]
    assert sorted(opened) == sorted(generated.TABLES)


def test_planted_change_of_a_table_is_undone():
    generated = loaded("generated")
    text = (DOCS / "costs.md").read_text()
    assert generated.filled(text.replace("| pJ |", "| nJ |")) == text


def local_links():
    return [
        (page.relative_to(ROOT), target)
        for page in sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text()))
        if not re.match(r"\w+:", target)
    ]


@pytest.mark.parametrize(("page", "target"), local_links(), ids=str)
def test_link_leads_to_a_file_and_a_heading_as_on_a_code_host(page, target):
    path, _, anchor = target.partition("#")
    file = (ROOT / page.parent / path) if path else ROOT / page
    assert file.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings]
        assert anchor in anchors


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_book_builds_without_a_warning_and_holds_the_data(tmp_path):
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", str(DOCS), str(tmp_path / "html")]
    printed = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (printed.returncode, printed.stderr) == (0, "")
    pages = {p.stem: p.read_text() for p in (tmp_path / "html").glob("*.html")}
    # What exists in the built book only.
    assert "s_axis_weights_tdata" in pages["interfaces"]
    assert "costs_paper.yaml" in pages["references"]
    assert "trit x act slot" in pages["architecture"]
    assert "Keep a Changelog" in pages["changes"]
    assert "test-fast" in pages["contributing"]
    assert "Cycles from accepting" in pages["timing"]
    rows = re.findall(r"<tr.*?</tr>", pages["costs"], re.DOTALL)
    shown = [re.findall(r"<p>(.*?)</p>", row, re.DOTALL) for row in rows]
    shown = [[html.unescape(re.sub("<.*?>", "", cell)) for cell in row] for row in shown]
    data = ROOT / "energy_model" / "data"
    for path in [*data.glob("costs_*.yaml"), data / "estimates.yaml"]:
        for action, cost in yaml.safe_load(path.read_text())["costs"].items():
            values = [f"{cost[level]:g}" for level in ("low", "nominal", "high")]
            assert [action, *values, cost["unit"], cost["tier"], cost["source"].strip()] in shown
