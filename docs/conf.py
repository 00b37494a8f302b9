"""The book: Sphinx over the pages of this folder. `make docs` builds it, warnings as errors."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
# Our packages, whose docstrings are shown, and the extension beside this file.
sys.path[:0] = [str(HERE.parent), str(HERE)]

project = "Tritloom"
author = "the Tritloom authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "tables"]
html_theme = "furo"
html_title = "Tritloom"
html_show_copyright = False
html_extra_path = ["film.html"]
# Links to headings, as code hosts make them.
myst_heading_anchors = 3
# Docstrings write code in single backticks, which read better in a terminal.
default_role = "literal"
# Sources and options are shown as they are.
smartquotes = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False


def setup(app):
    """Docstrings write |W| for a magnitude, which reStructuredText takes for a substitution."""

    def escape(_app, _what, _name, _object, _options, lines):
        lines[:] = [line.replace("|", r"\|") for line in lines]

    app.connect("autodoc-process-docstring", escape)
