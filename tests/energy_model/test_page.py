"""The report as HTML: held to its JSON, to a strict parser, and opened in Chromium."""

import contextlib
import functools
import io
import json
import platform
import xml.etree.ElementTree as ET
from pathlib import Path

import html5lib
import pytest

from tritloom.energy_model.__main__ import PROGRAM

ROOT = Path(__file__).parents[2]
PLOTS = 6
# Elements that fetch something, and attributes that may name it.
FETCHING = {
    "script",
    "link",
    "img",
    "iframe",
    "object",
    "embed",
    "video",
    "audio",
    "source",
    "base",
}
NAMING = {"src", "href", "srcset", "data", "poster", "action", "{http://www.w3.org/1999/xlink}href"}
CASES = [
    ("--size", "70b"),
    ("--size", "7b", "--hardware", "a100", "--phase", "decode", "--batch", "8", "--leakage", "2"),
]


def make(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert PROGRAM.main(["report", *arguments, "--format", "html"]) == 0
    return printed.getvalue()


page_of = functools.cache(make)


@pytest.fixture(params=CASES, ids=" ".join)
def case(request):
    return request.param, page_of(*request.param)


def tree_of(page):
    """The tree that browsers would build of a page; any error of the parser is raised."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text_of(element):
    return " ".join("".join(element.itertext()).split())


def rows_of(table):
    return [[text_of(cell) for cell in row] for row in table.iter("tr")]


def test_the_page_is_valid_and_fetches_nothing(case):
    tree = tree_of(case[1])
    elements = list(tree.iter())
    assert not FETCHING & {element.tag for element in elements}
    references = [e.attrib[name] for e in elements for name in NAMING & set(e.attrib)]
    assert references
    assert all(reference.startswith("#") for reference in references)
    styles = [e.attrib.get("style", "") for e in elements]
    styles += [text_of(e) for e in elements if e.tag.endswith("style")]
    assert not any("@import" in style for style in styles)
    assert all(part.startswith("#") for style in styles for part in style.split("url(")[1:])
    (policy,) = (e for e in elements if e.attrib.get("http-equiv") == "Content-Security-Policy")
    assert policy.attrib["content"].startswith("default-src 'none';")
    ids = [e.attrib["id"] for e in elements if "id" in e.attrib]
    assert len(ids) == len(set(ids))
    assert {reference[1:] for reference in references} <= set(ids)


def test_the_page_shows_what_the_json_holds(case, capsys):
    arguments, page = case
    assert PROGRAM.main(["report", *arguments, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    tree = tree_of(page)
    headline, figures, *_ = map(rows_of, tree.iter("table"))
    for row, key in zip(headline[2:], [h["phase"] for h in report["headlines"]], strict=True):
        low, high = report[f"system_{key}"]["ratio_range"]
        nominal = report[f"system_{key}"]["ratio"]
        assert row[1:4] == [f"{value:.2f}x" for value in (low, nominal, high)]
    everything = [entry for entry in report.values() if isinstance(entry, dict) and "tier" in entry]
    labels = [row[0] for row in figures]
    assert len([entry for entry in everything if "ratio" in entry]) <= len(labels)
    static = figures[labels.index("static power")]
    assert static[1] != "0 J" if "--leakage" in arguments else static[1] == "0 J"
    text = text_of(tree)
    for note in report["notes"]:
        assert f"{note['tier']} {' '.join(note['text'].split())}." in text
    for action, cost in report["costs"]["with_memory"].items():
        assert action in text
        assert " ".join(cost["source"].split()) in text
    assert f"batch {report['batch']}" in text
    *_, options, versions = map(rows_of, tree.iter("table"))
    assert ["batch", str(report["batch"])] in options
    assert ["python", platform.python_version()] in versions


def test_every_plot_is_well_formed_and_labelled(case):
    parts = case[1].split("<svg")[1:]
    plots = [ET.fromstring(f"<svg{part.partition('</svg>')[0]}</svg>") for part in parts]
    names = [plot.attrib["aria-label"] for plot in plots]
    assert len(names) == len(set(names)) == PLOTS
    words = {name: " ".join(plot.itertext()) for name, plot in zip(names, plots, strict=True)}
    category, layers, latency, roofline, context, batch = words.values()
    assert "DRAM, weights" in category
    assert "ffn.down" in layers
    assert "lm_head" in latency
    assert "op/s" in roofline
    assert "131072" in context
    assert "256" in batch
    assert "#010203" not in case[1]


def test_names_from_outside_are_escaped(tmp_path):
    config = tmp_path / "<img src=x>" / "config.json"
    config.parent.mkdir()
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 99}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    config.write_text(json.dumps({"model_type": "llama", "hidden_act": "silu"} | sizes | heads))
    page = make("--model", str(config.parent))
    assert "&lt;img" in page
    assert "<img" not in page


def test_out_writes_a_page_that_says_nothing_of_when_or_where(tmp_path):
    path = tmp_path / "x.html"
    assert PROGRAM.main(["report", *CASES[0], "--format", "html", "--out", str(path)]) == 0
    assert path.read_text() == page_of(*CASES[0])


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_out_writes_what_would_be_printed(tmp_path, capsys, form):
    arguments = ["report", "--size", "7b", "--format", form]
    path = tmp_path / "x"
    assert PROGRAM.main([*arguments, "--out", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert PROGRAM.main(arguments) == 0
    assert path.read_text() == capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, capsys):
    target = tmp_path / "x.json"
    target.mkdir()
    assert PROGRAM.main(["report", "--size", "7b", "--format", "json", "--out", str(target)]) == 2
    assert f"cannot write {target}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [target]


# Opens a page in widths of a desktop and of a phone; prints what a person would see as JSON.
BROWSER = """
import json, sys, time
from PySide6.QtCore import QTimer, QUrl
from PySide6.QtWebEngineCore import (
    QWebEnginePage, QWebEngineSettings, QWebEngineUrlRequestInterceptor
)
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

MEASURE = '''JSON.stringify({
  title: document.title, text: document.body.innerText, dark: matchMedia(
    "(prefers-color-scheme: dark)").matches, page: getComputedStyle(document.body).backgroundColor,
  inner: innerWidth, width: document.documentElement.scrollWidth,
  room: document.documentElement.clientWidth,
  plots: [...document.querySelectorAll("svg")].map(svg => {
    const box = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map(text => text.getBoundingClientRect());
    return {width: box.width, height: box.height, texts: texts.length, outside: texts.filter(text =>
      text.left < box.left - 1 || text.right > box.right + 1 || !text.width).length};
  })})'''

class Requests(QWebEngineUrlRequestInterceptor):
    def interceptRequest(self, info):
        seen.append(info.requestUrl().toString())

class Page(QWebEnginePage):
    def javaScriptConsoleMessage(self, level, message, line, source):
        said.append(message)

seen, said, found = [], [], {}
app = QApplication(sys.argv[:1])
view, requests = QWebEngineView(), Requests()
page = Page(view)
page.profile().setUrlRequestInterceptor(requests)
# Else Chromium would fetch nothing for a local page, whatever the page asks for.
remote = QWebEngineSettings.WebAttribute.LocalContentCanAccessRemoteUrls
page.settings().setAttribute(remote, True)
view.setPage(page)
widths = [1200, 380]

def look(*_):
    view.resize(widths[0], 2500)
    view.show()
    QTimer.singleShot(300, lambda: page.runJavaScript(MEASURE, keep))

def keep(result):
    picture = view.grab().toImage()
    red = sum(picture.pixelColor(x, y).name() == "#d1495b"
              for x in range(0, picture.width(), 4) for y in range(0, picture.height(), 4))
    found[widths[0]] = json.loads(result) | {"red": red}
    # A busy machine takes its time to lay out and to paint.
    late = time.monotonic() > started + 30
    if late or (found[widths[0]]["inner"] == widths[0] and red > 500):
        widths.pop(0)
    if widths:
        look()
    else:
        print(json.dumps({"requests": seen, "console": said, "found": found}))
        sys.stdout.flush()
        app.quit()

started = time.monotonic()
page.loadFinished.connect(look)
page.load(QUrl.fromLocalFile(sys.argv[1]))
QTimer.singleShot(60000, app.quit)
app.exec()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_page_offline(chromium, tmp_path, scheme):
    path = tmp_path / "x.html"
    path.write_text(page_of(*CASES[0]))
    seen = chromium(BROWSER, path, scheme=scheme)
    assert seen["requests"] == [path.as_uri()]
    assert seen["console"] == []
    for width, view in seen["found"].items():
        assert view["dark"] == (scheme == "dark")
        assert view["page"] == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 25, 29)"}[scheme]
        assert view["title"].startswith("70b: BitNet b1.58 next to FP16 LLaMA")
        assert "41.2x" in view["text"]
        assert view["width"] <= view["room"] <= int(width)  # tables and plots scroll, not the page
        assert len(view["plots"]) == PLOTS
        for plot in view["plots"]:
            assert plot["width"] > 400
            assert plot["height"] > 200
            assert plot["texts"] > 5
            assert plot["outside"] == 0
        assert view["red"] > 500  # BitNet's bars are painted


def test_a_browser_finds_fault_with_a_damaged_page(chromium, tmp_path):
    path = tmp_path / "x.html"
    page = page_of(*CASES[0])
    wide = '<div style="width: 3000px">wide</div><img src="http://localhost:9/x.png">'
    path.write_text(page.replace("<h2>Plots</h2>", wide).replace("default-src 'none';", ""))
    seen = chromium(BROWSER, path)
    assert "http://localhost:9/x.png" in seen["requests"]
    assert all(view["width"] > view["room"] for view in seen["found"].values())
    path.write_text(page.replace("<h2>Plots</h2>", wide))
    assert any(
        "Content Security Policy" in message for message in chromium(BROWSER, path)["console"]
    )
