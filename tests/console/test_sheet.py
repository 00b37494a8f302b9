"""Sheets: each form from the same parts; what a terminal, a pipe and Markdown need."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import sys

import html5lib
import pytest

from tritloom.console.sheet import RULE, Bold, Heading, Notes, Sheet, Table, render, show

SHEET = Sheet(
    parts=[
        "model 7b",
        "",
        Heading("Energy"),
        Table(
            headers=("What", ">Joules"),
            rows=[("adders", "1.5"), RULE, Bold(("a|b & <c>", "12.0"))],
        ),
        Notes(["[1] INFERRED a guess."]),
    ],
    records=[{"what": "adders", "joules": 1.5}, {"what": "total", "joules": 12.0}],
)


def test_closed_standard_output_is_no_failure(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    for form in ("table", "csv", "json", "markdown"):
        show(SHEET, form)


def test_pipe_has_plain_columns_without_trailing_blanks(capsys):
    show(SHEET)
    assert capsys.readouterr().out == (
        "model 7b\n\nEnergy\n"
        "What       Joules\nadders        1.5\na|b & <c>    12.0\n"
        "[1] INFERRED a guess.\n"
    )


def test_pipe_folds_nothing(capsys):
    long = "word " * 200
    show(Sheet(parts=[long, Table(headers=("a", "b"), rows=[(long, long)])]))
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_width_folds_text_but_no_heading_and_no_table(capsys):
    words, row = "word " * 30, "x" * 60
    table = Table(headers=("a",), rows=[(row,)])
    show(Sheet(parts=[words, "", Heading(row), table, Notes([words])], width=50))
    lines = capsys.readouterr().out.splitlines()
    folded = ["word " * 9 + "word"] * 3
    assert lines == [*folded, "", row, "a", row, *folded]
    assert render(Sheet(parts=[words], width=50), "markdown") == words


def test_markdown_is_a_table_that_code_hosts_read(capsys):
    show(SHEET, "markdown")
    assert capsys.readouterr().out == (
        "model 7b\n\n## Energy\n\n"
        "| What | Joules |\n| --- | ---: |\n| adders | 1.5 |\n| a\\|b & <c> | 12.0 |\n\n"
        "- [1] INFERRED a guess.\n"
    )


def test_html_parses_and_escapes():
    parser = html5lib.HTMLParser(strict=True)
    fragment = parser.parseFragment(render(SHEET, "html"))
    text = "".join(fragment.itertext())
    assert "a|b & <c>" in text
    assert fragment.find(".//{*}td[@class='number']").text == "1.5"
    assert fragment.find(".//{*}tr[@class='bold']") is not None


def test_html_leaves_out_blanks_that_indent():
    sheet = Sheet(parts=[Table(headers=("a", ">b"), rows=[("  part", "1")])])
    assert '<td>part</td><td class="number">1</td>' in render(sheet, "html")


def test_json_and_csv_are_the_records():
    assert json.loads(render(SHEET, "json")) == list(SHEET.records)
    lines = list(csv.DictReader(io.StringIO(render(SHEET, "csv"))))
    assert [line["what"] for line in lines] == ["adders", "total"]


def test_json_is_the_data_where_there_is_some():
    assert json.loads(render(Sheet(parts=[], data={"a": [1]}), "json")) == {"a": [1]}
    assert json.loads(render(Sheet(parts=[], data=0), "json")) == 0


def test_csv_leaves_a_missing_field_empty_and_refuses_an_unknown_one():
    sheet = Sheet(parts=[], records=[{"a": 1}], fields=("a", "b"))
    assert render(sheet, "csv") == "a,b\n1,"
    with pytest.raises(ValueError, match="c"):
        render(Sheet(parts=[], records=[{"c": 1}], fields=("a",)), "csv")


def test_json_refuses_what_is_no_number():
    with pytest.raises(ValueError, match="JSON"):
        render(Sheet(parts=[], data=[float("nan")]), "json")


def test_terminal_draws_rules_and_folds():
    script = (
        "from tritloom.console.sheet import *; "
        "show(Sheet(parts=['x ' * 60, Table(headers=('a', '>b'), rows=[('1', '2')])]))"
    )
    parent, child = pty.openpty()
    environment = os.environ | {"COLUMNS": "60", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", script], stdout=child, env=environment, check=True)
    os.close(child)
    printed = b""
    try:
        while block := os.read(parent, 4096):
            printed += block
    except OSError:
        pass
    os.close(parent)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed.decode()).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert any("───" in line for line in lines)
