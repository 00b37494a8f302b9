"""The book, which Sphinx builds of the pages of this folder.

`make docs` builds it, warnings as errors. A page is plain Markdown, which code hosts show as the
book does. What only Sphinx knows is made here: the tables of contents, from the lists of index.md,
and the two pages whose text is a file of the folder above.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
project = "Tritloom"
author = "the Tritloom authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "Tritloom"
html_show_copyright = False
html_extra_path = ["film.html"]
# Links to headings, as code hosts make them.
myst_heading_anchors = 3
# Sources and options are shown as they are.
smartquotes = False

# Pages whose text is a file of the folder above.
WHOLE = {"changes": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}


def contents(index: str) -> str:
    """index.md with a table of contents behind each of its lists, of the pages that it links."""
    parts = re.split(r"^(\*\*.*\*\*)$", index, flags=re.MULTILINE)
    book = parts[0]
    for caption, listed in zip(parts[1::2], parts[2::2], strict=True):
        pages = dict.fromkeys(re.findall(r"\]\(([\w-]+)\.md\)", listed))
        options = [":hidden:", f":caption: {caption.strip('*')}", "", *pages]
        entries = "\n".join(options)
        book += f"{caption}{listed.rstrip()}\n\n```{{toctree}}\n{entries}\n```\n\n"
    return book


def setup(app):
    """Fill in the pages that code hosts show otherwise."""

    def fill(_app, name, source):
        if name == "index":
            source[0] = contents(source[0])
        elif name in WHOLE:
            text = (HERE.parent / WHOLE[name]).read_text()
            source[0] = text.replace("](docs/", "](")

    app.connect("source-read", fill)
