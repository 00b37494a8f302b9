"""Every docstring's first line stands alone, and the check of that catches planted ones."""

from pathlib import Path

import pytest

from tests.tools.docstrings import ROOT, fault, faults, sources


@pytest.mark.parametrize("path", sources(), ids=str)
def test_first_lines_stand_alone(path):
    assert list(faults((ROOT / path).read_text())) == []


@pytest.mark.parametrize(
    ("docstring", "wrong"),
    [
        ("", "is empty"),
        ("\n    Cycles of a tile.", "is empty"),
        ("The same for the whole core.", "opens with 'The same'"),
        ("Of the output head.", "opens with 'Of'"),
        ("As `ecp5.accumulate`.", "opens with 'As'"),
        ("In a word.", "opens with 'In'"),
        ("By number format.", "opens with 'By'"),
        ("Its text.", "opens with 'Its'"),
        ("Those in an attribute's arguments.", "opens with 'Those'"),
        ("And the interrupt reaches its lamp.", "opens with 'And'"),
        ("At every rising edge.", "opens with 'At'"),
        ("So many words of equal width.", "opens with 'So'"),
        ("Cycles of a tile", "ends without a full stop"),
        ("Cycles of a tile:", "ends without a full stop"),
        ("Cycles of a tile. All streams are ready.", "is more than one sentence"),
        ("Prove it.", "says of what by a pronoun"),
    ],
)
def test_planted_first_line_is_caught(docstring, wrong):
    assert fault(docstring) == wrong


@pytest.mark.parametrize(
    "docstring",
    [
        "Cycles of a tile.",
        "Cycles of a tile.\n\nThe same for a pass.",
        "At least two rows, from north to south.",
        "At most as many cells as fit.",
        "In every cycle, what is offered stays until it is taken.",
        "Whether the bus answers.",
        "Y[m, n] = X[m, k] . W[n, k]^T in integers, exact.",
        "The text of `arch.ternary` that says what 1.6 bits a trit are.",
        "Is every beat taken?",
        "Overall cycles of one run.",
        "On-chip memory besides the buffers.",
    ],
)
def test_good_first_line_passes(docstring):
    assert fault(docstring) is None


def test_module_class_and_functions_are_looked_at():
    source = (
        '"""Of a module."""\n\nclass A:\n    """Its class."""\n\n    def b(self):\n'
        '        """As c."""\n\nasync def d():\n    """By e."""\n'
    )
    assert [(line, name) for line, name, _, _ in faults(source)] == [
        (1, "module"),
        (4, "A"),
        (10, "d"),
        (7, "b"),
    ]


def test_every_package_is_looked_at():
    looked_at = {path.parts[0] for path in sources()}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= looked_at
    assert Path("tests/tools/test_docstrings.py") in sources()
