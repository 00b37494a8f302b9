"""docs/film.html in Chromium: its buttons pressed, and what they show held to arithmetic."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "film.html"

# Presses every control as a person would; prints what is to be seen after each as JSON.
BROWSER = """
import json, sys
from PySide6.QtCore import QTimer, QUrl
from PySide6.QtWebEngineCore import QWebEnginePage, QWebEngineUrlRequestInterceptor
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication

PRESS = '''(async () => {
  const of = (id) => document.getElementById(id);
  const look = () => ({
    now: of("now").textContent, slider: of("cycle").value, play: of("play").textContent,
    cells: [...of("array").children].map((cell) => ({
      port: cell.classList.contains("port"), waits: cell.classList.contains("wait"),
      shown: cell.getBoundingClientRect().width > 0,
      lines: Object.fromEntries([...cell.children].map((d) => [d.dataset.name, d.textContent])),
      marked: [...cell.children].filter((d) => d.className === "new").map((d) => d.dataset.name),
    })),
    product: [...of("product").rows].map((row) => [...row.cells].map((c) => c.textContent)),
  });
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const films = [];
  for (const option of of("film").options) {
    of("film").value = option.value;
    of("film").dispatchEvent(new Event("change"));
    const found = {name: option.textContent, about: of("about").textContent, frames: [look()]};
    for (let i = 0; i < Number(of("cycle").max) + 1; i++) {
      of("step").click();
      found.frames.push(look());
    }
    of("back").click();
    found.back = look();
    of("cycle").value = 7;
    of("cycle").dispatchEvent(new Event("input"));
    found.slid = look();
    of("first").click();
    found.first = look();
    of("play").click();
    found.playing = look();
    await pause(2000);
    of("play").click();
    found.paused = look();
    await pause(1000);
    found.later = look();
    films.push(found);
  }
  document.title = "done";
  window.found = JSON.stringify({
    films,
    width: document.documentElement.scrollWidth, room: document.documentElement.clientWidth});
})()'''

class Requests(QWebEngineUrlRequestInterceptor):
    def interceptRequest(self, info):
        seen.append(info.requestUrl().toString())

class Page(QWebEnginePage):
    def javaScriptConsoleMessage(self, level, message, line, source):
        said.append(message)

seen, said = [], []
app = QApplication(sys.argv[:1])
view, requests = QWebEngineView(), Requests()
page = Page(view)
page.profile().setUrlRequestInterceptor(requests)
view.setPage(page)
view.resize(380, 900)
view.show()

def ended(title):
    if title == "done":
        # The title tells before the result is kept.
        QTimer.singleShot(200, lambda: page.runJavaScript("window.found", tell))

def tell(result):
    print(json.dumps({"requests": seen, "console": said, "found": json.loads(result)}))
    sys.stdout.flush()
    app.quit()

page.titleChanged.connect(ended)
page.loadFinished.connect(lambda *_: page.runJavaScript(PRESS))
page.load(QUrl.fromLocalFile(sys.argv[1]))
QTimer.singleShot(60000, app.quit)
app.exec()
"""


@pytest.fixture
def seen(chromium):
    return chromium(BROWSER, PAGE)


def sizes(film):
    rows, cols, lanes, m, k, n = map(
        int,
        re.match(r"(\d+)x(\d+)x(\d+), .*m = (\d+), k = (\d+), n = (\d+)", film["about"]).groups(),
    )
    return rows, cols, lanes, m, k, n


def numbers(text):
    return [int(word) for word in text.split()]


def grid(film, frame):
    """Cells by row and column, ports at the edges."""
    rows, cols, *_ = sizes(film)
    return np.array(frame["cells"]).reshape(rows + 2, cols + 1)


def test_a_browser_plays_the_film(seen):
    assert seen["requests"] == [PAGE.as_uri()]
    assert seen["console"] == []
    assert seen["found"]["width"] <= seen["found"]["room"] <= 380
    assert [film["name"] for film in seen["found"]["films"]] == [
        "output-stationary",
        "weight-stationary",
    ]
    for film in seen["found"]["films"]:
        frames, last = film["frames"], len(film["frames"]) - 2
        told = [f"cycle {min(cycle, last)} of {last}" for cycle in range(last + 2)]
        assert [frame["now"] for frame in frames] == told
        assert [frame["slider"] for frame in frames] == [str(min(c, last)) for c in range(last + 2)]
        assert film["back"] == frames[last - 1]
        assert film["slid"] == frames[7]
        assert film["first"] == frames[0]
        assert film["playing"]["play"] == "Pause"
        cycle = int(film["paused"]["slider"])
        assert 1 <= cycle < last
        assert film["paused"] == film["later"] == frames[cycle]
        assert all(cell["shown"] for frame in frames for cell in frame["cells"])

        # What is seen at an edge is seen in the PEs behind it, for each a cycle later.
        rows, cols, _, m, _, n = sizes(film)
        followed = 0
        for cycle, row in np.ndindex(last + 1, rows):
            port = grid(film, frames[cycle])[row + 1, 0]
            if port["lines"] and not port["waits"]:
                for col in range(cols):
                    if (arrival := cycle + 1 + row + col) <= last:
                        pe = grid(film, frames[arrival])[row + 1, col + 1]
                        assert pe["lines"]["act"] == port["lines"]["act"]
                        followed += 1
        assert followed > 50

        # What has changed since the frame before is marked, and nothing else.
        for before, frame in itertools.pairwise(frames[: last + 1]):
            for old, new in zip(before["cells"], frame["cells"], strict=True):
                if not new["port"]:
                    changed = [
                        name for name in new["lines"] if new["lines"][name] != old["lines"][name]
                    ]
                    assert new["marked"] == changed

        # Psums that leave below are in the table from then on: a token's, for a group of columns.
        beats = []
        for frame in frames[: last + 1]:
            bottom = [cell["lines"].get("psum") for cell in grid(film, frame)[-1, 1:]]
            if bottom[0] is not None:
                beats.append(bottom)
            table = np.full((m, n), "·", dtype=object)
            for beat, psums in enumerate(beats):
                group, token = divmod(beat, m)
                table[token, group * cols : (group + 1) * cols] = psums
            assert frame["product"] == table.tolist()
        assert len(beats) == m * n // cols


def test_psums_on_the_page_are_the_product_of_acts_and_trits_on_it(seen):
    film = seen["found"]["films"][0]
    rows, cols, lanes, m, k, n = sizes(film)
    assert m == rows
    # Values by frame and port; the southernmost row has the first token.
    ports = [
        (grid(film, frame)[-2:0:-1, 0], grid(film, frame)[0, 1:]) for frame in film["frames"][:-1]
    ]
    acts, trits = (
        np.array([[numbers(port["lines"][name]) for port in beat] for beat in taken])
        for name, taken in zip(
            ("act", "trit"),
            (
                [beat for beat in side if beat[0]["lines"] and not beat[0]["waits"]]
                for side in zip(*ports, strict=True)
            ),
            strict=True,
        )
    )
    assert acts.shape == (n // cols * k // lanes, rows, lanes)
    assert trits.shape == (n // cols * k // lanes, cols, lanes)
    psums = np.einsum(
        "gsrl,gscl->rgc",
        acts.reshape(n // cols, k // lanes, rows, lanes),
        trits.reshape(n // cols, k // lanes, cols, lanes),
    )
    assert film["frames"][-1]["product"] == psums.reshape(m, n).astype(str).tolist()
