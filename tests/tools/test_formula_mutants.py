"""Mutation testing of formulas: what `make mutate-formulas` draws and runs, on a few faults."""

import ast
import json
import subprocess
import sys

import pytest

from tests.tools import formula_mutants
from tests.tools.formula_sites import sites


@pytest.mark.parametrize(
    ("formula", "faults"),
    [
        ("a + b", {"a - b"}),
        ("a << b", {"a >> b"}),
        ("a * b", {"a // b", "a + b"}),
        ("a < b", {"a <= b", "a >= b"}),
        ("a < b < c", {"a <= b < c", "a < b <= c"}),
        ("a == b", {"a != b"}),
        ("a and b", {"a or b"}),
        ("not a", {"a"}),
        ("abs(a)", {"a"}),
        ("max(a, b)", {"min(a, b)"}),
        ("f(a, b)", {"f(b, a)"}),
        ("a if b else c", {"c if b else a"}),
        ("-(-a // b)", {"a // b", "-(-a * b)", "-(a // b)"}),
        ("np.rint(a)", {"np.floor(a)"}),
        ("3", {"4", "0"}),
        ("1.5", {"3.0", "0"}),
        ("True", {"False"}),
        ("a", set()),
        ("'a' + b", set()),
        ("f'{a + b}'", set()),
    ],
)
def test_faults_of_a_formula(formula, faults):
    wanted = sorted(f"x = {fault}" for fault in faults)
    found = [ast.unparse(ast.parse(site.source)) for site in sites("f.py", f"x = {formula}\n")]
    assert sorted(found) == wanted


@pytest.mark.parametrize(
    "source",
    [
        '"""1 + 1"""\n',
        "@functools.lru_cache(maxsize=1 << 4)\ndef f(a: 1 | 2) -> 1: ...\n",
        "def f(a):\n    raise ValueError(1 + 1)\n",
        'if __name__ == "__main__":\n    f(1 + 1)\n',
    ],
)
def test_what_is_no_formula_is_left_alone(source):
    assert list(sites("f.py", source)) == []


def test_every_module_and_test_that_is_left_out_exists():
    root, lists = formula_mutants.ROOT, formula_mutants.LISTS
    assert all((root / name).exists() for name in lists["left_out"])
    assert all((root / "tests" / name).exists() for name in lists["not_run"])


def test_every_equivalent_fault_is_one_that_can_be_drawn_and_has_a_reason():
    known = {(m.file, m.where, m.before, m.after) for m in formula_mutants.candidates()}
    equivalents = formula_mutants.equivalents()
    assert equivalents.keys() <= known
    assert all(len(why) > 20 for why in equivalents.values())


def test_a_draw_is_seeded_different_and_has_a_fifth_of_each_package():
    first, again, other = (formula_mutants.drawn(300, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == len(first) >= 300
    packages = [formula_mutants.package_of(formula_mutants.candidates()[i]) for i in first]
    assert min(map(packages.count, formula_mutants.PACKAGES)) >= 60


# Faults of arch/tiling.py, by what stands there, and whether its tests fail. In a process of its
# own: one that has threads had better not fork.
PLANTED = [
    ("-(-gemm.n // config.cols)", "gemm.n // config.cols", True),
    ("-(-gemm.n // config.cols)", "(gemm.n + config.cols - 1) // config.cols", False),
    ("self.tiles * self.slices", "self.tiles + self.slices", True),
    ("return self.token_groups * self.feature_groups", "while True: pass", True),
]
SCRIPT = """
import json, sys
from tests.tools import formula_mutants as f
from tests.tools.formula_sites import Mutant
f.LEAST_S = 1
file, found = "arch/tiling.py", []
text = (f.ROOT / file).read_text()
with f.Project(["arch/test_tiling.py"]) as project:
    project.measure()
    for before, after in json.loads(sys.argv[1]):
        line = text[: text.index(before)].count(chr(10)) + 1
        found.append(project.killer(Mutant(
            file=file, where="", before=before, after=after, lines=range(line, line + 1),
            source=text.replace(before, after, 1))))
    same = (project.folder / "copy" / file).read_text() == text
print(json.dumps([found, same, project.folder.exists()]))
"""


def test_planted_faults_are_killed_equivalent_ones_survive_and_nothing_is_left():
    pairs = [(before, after) for before, after, _ in PLANTED]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(pairs)],
        cwd=formula_mutants.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    killers, same, left = json.loads(done.stdout.splitlines()[-1])
    assert [bool(killer) for killer in killers] == [killed for *_, killed in PLANTED]
    assert killers[-1] == "time or crash"
    assert killers[0].startswith("tests/arch/test_tiling.py::")
    assert same
    assert not left


@pytest.mark.parametrize(
    "arguments", [["--no-such"], ["--count", "0"], ["--seed", "x"], ["--run", "999999"]]
)
def test_wrong_options_end_with_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        formula_mutants.main(arguments)
    assert end.value.code == 2
    assert "error: " in capsys.readouterr().err
