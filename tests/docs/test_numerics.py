"""The table of trit5 on the page of numerics: its bytes are those of the packing."""

import itertools
import re
from pathlib import Path

import pytest

from tritloom.arch.ternary import TRIT5, to_codes

DOCS = Path(__file__).parents[2] / "docs"


def trit5_rows():
    """Cells of the table on the page, by what its first column says."""
    text = (DOCS / "numerics.md").read_text()
    lines = text[text.index("| bits |") :].split("\n\n")[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert head == ["bits", "7..6", "5", "4", "3..2", "1..0"]
    return {name: cells for name, *cells in rows}


def field(cell, wide, trits):
    """Bits of a cell for five trits: a pair's field where it is `wide`, else its single bit."""
    if re.fullmatch("[01]+", cell):
        return int(cell, 2)
    codes = [int(trits[int(index)]) for index in re.findall(r"t(\d)", cell)]
    if len(codes) == 1:
        return int(to_codes(codes)[0])
    x, y = codes
    if wide:
        return int(to_codes([x])[0]) if y else 0b10
    return int((y or x) < 0)


@pytest.mark.parametrize("trits", list(itertools.product((-1, 0, 1), repeat=5)), ids=str)
def test_bytes_of_trit5_are_those_of_the_table(trits):
    low, high = any(trits[1:3]), any(trits[3:])
    names = {
        (True, True): "no pair of zeros",
        (True, False): "t3 = t4 = 0",
        (False, True): "t1 = t2 = 0",
        (False, False): "all four zero",
    }
    cells = trit5_rows()[names[low, high]]
    shifts, wide = (6, 5, 4, 2, 0), (True, False, False, True, True)
    byte = sum(field(c, w, trits) << s for c, w, s in zip(cells, wide, shifts, strict=True))
    assert TRIT5.pack(trits).tolist() == [byte]
