"""Toggles that Verilator counts, against those computed from the stimulus; and the command line."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tritloom.arch import streams, ternary
from tritloom.arch.config import ArrayConfig
from tritloom.arch.errors import InputError, MismatchError
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm
from tritloom.hw.verilog import generate
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.power import toggles

CONFIGS = [
    ArrayConfig(rows=2, cols=3, lanes=4),
    ArrayConfig(rows=3, cols=4, lanes=5, act_bits=5, cols_per_hop=2, levels_per_stage=1),
]
SHARES = [Fraction(0), Fraction(1, 3), Fraction(2, 3)]
# Gated against bubbles. Adders are not: one sees its accumulator move a cycle after its last beat.
HELD = ["selects", "tree and accumulator registers", "act hops", "trit hops", "drain"]
STUTTER = (1, 0, 0, 1, 1, 0, 1)


def shape(config):
    return f"{config.shape}-{config.act_bits}b"


def operands(config, share, seed=5):
    gemm = Gemm(2 * config.rows, 9 * config.lanes - 1, 2 * config.cols)
    return toggles.random_operands(
        gemm, zero_share=float(share), act_bits=config.act_bits, seed=seed
    )


def flips(values, bits):
    """Bits that differ between successive entries of the first axis, before which all is 0."""
    values = np.asarray(values, np.int64)
    before = np.concatenate([np.zeros_like(values[:1]), values[:-1]])
    return int(np.bitwise_count((values ^ before) & ((1 << bits) - 1)).sum())


def expected(config, acts, trits):
    """Toggles from the stimulus alone, without looking at what the RTL does between registers."""
    plan = OutputStationaryPlan(config, Gemm(*acts.shape, len(trits)))
    acts_beats, trit_beats = streams.slice_acts(plan, acts), streams.slice_trits(plan, trits)
    pairs = [(tile.m0 // config.rows, tile.n0 // config.cols) for tile in plan]
    a = np.concatenate([acts_beats[group] for group, _ in pairs]).astype(np.int64)
    t = np.concatenate([trit_beats[group] for _, group in pairs]).astype(np.int64)
    # (beat, row, col, lane)
    a_each, t_each = a[:, :, None], t[:, None]
    operand = np.where(t_each == 0, 0, np.where(t_each < 0, -a_each - 1, a_each))
    products = (a_each * t_each).sum(axis=3)
    partial = products.reshape(len(pairs), plan.slices, -1).cumsum(axis=1)
    return {
        "acts_east": config.hops * flips(a, config.act_bits),
        "trits_south": config.rows * flips(ternary.to_codes(t), 2),
        "operand": flips(operand, config.act_bits),
        "gated": flips(a_each * (t_each != 0), config.act_bits),
        "accumulator": flips(partial.reshape(plan.beats, -1), config.psum_bits),
    }


def counted(found, net):
    return sum(count for (_, name), count in found.nets.items() if re.fullmatch(net, name))


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES, ids=lambda share: f"zero-{float(share):.2f}")
@pytest.mark.parametrize("config", CONFIGS, ids=shape)
def test_toggles_equal_those_of_the_stimulus(config, share, folder):
    acts, trits = operands(config, share)
    found = toggles.run(config, acts, trits, folder=folder)
    wanted = expected(config, acts, trits)
    assert found.operations == 4 * 9 * config.macs_per_cycle
    assert found.toggles("act hops") == wanted["acts_east"]
    assert found.toggles("trit hops") == wanted["trits_south"]
    assert found.toggles("selects") == wanted["operand"] + wanted["gated"]
    assert counted(found, r"operand_\d+") == wanted["operand"]
    assert counted(found, "accumulator") == wanted["accumulator"]


@pytest.mark.slow
def test_bubbles_toggle_nothing_in_the_pes(folder):
    config = CONFIGS[0]
    acts, trits = operands(config, SHARES[1])
    busy, stuttering = (
        toggles.run(config, acts, trits, folder=folder, offers=offers) for offers in ((1,), STUTTER)
    )
    assert {name: stuttering.toggles(name) for name in HELD} == {
        name: busy.toggles(name) for name in HELD
    }
    # The payload did change meanwhile.
    assert stuttering.toggles("skew") > busy.toggles("skew")


@pytest.mark.slow
def test_bubbles_would_show_without_their_gate(folder):
    config = CONFIGS[0]
    verilog, count = re.subn(
        r"(if \(|\.take\()control_west\[0\]",
        r"\g<1>1'h1",
        generate(config, name="dut").verilog,
    )
    assert count == 1 + config.cols_per_hop
    acts, trits = operands(config, SHARES[1])
    gated = toggles.run(config, acts, trits, folder=folder, offers=STUTTER)
    loose = toggles.run(config, acts, trits, folder=folder, offers=STUTTER, verilog=verilog)
    for name in ("selects", "act hops", "trit hops"):
        assert loose.toggles(name) > 1.3 * gated.toggles(name)


@pytest.mark.slow
def test_zero_trits_alone_move_nothing_but_acts_and_control(folder):
    config = CONFIGS[0]
    acts, trits = operands(config, Fraction(1))
    assert not trits.any()
    found = toggles.run(config, acts, trits, folder=folder)
    moved = {name for name in toggles.CATEGORIES if found.toggles(name)}
    assert moved == {"act hops", "control", "skew"}


@pytest.mark.slow
def test_wrong_psums_are_refused(folder):
    verilog = generate(CONFIGS[0], name="dut").verilog
    faulty, count = re.subn("accumulator <= accumulated;", "accumulator <= ~accumulated;", verilog)
    assert count == 1
    with pytest.raises(MismatchError, match="psums differ from the product"):
        toggles.run(CONFIGS[0], *operands(CONFIGS[0], 0.5), folder=folder, verilog=faulty)


def test_operands_have_exactly_the_share_and_both_signs():
    acts, trits = toggles.random_operands(Gemm(3, 300, 40), zero_share=1 / 3, act_bits=8, seed=1)
    assert (trits == 0).sum() == 4000
    assert abs((trits == 1).sum() - 4000) < 300
    # Absmax: the largest of every token takes the full range.
    assert (np.abs(acts).max(axis=1) == 127).all()


SAIF = r"""(SAIFILE
(DURATION 38)
 (INSTANCE TOP
  (NET
   (clk (T0 1) (T1 2) (TZ 0) (TX 0) (TB 0) (TC 4))
  )
  (INSTANCE a
   (NET
    (x\[0\] (T0 1) (T1 2) (TZ 0) (TX 0) (TB 0) (TC 3))
    (x\[10\] (T0 1) (T1 2) (TZ 0) (TX 0) (TB 0) (TC 5))
   )
   (INSTANCE b
   )
  )
  (INSTANCE c
   (NET
    (x (T0 1) (T1 2) (TZ 0) (TX 0) (TB 0) (TC 1))
   )
  )
 )
)
"""


def test_saif_is_read_by_instance_and_net():
    assert toggles.read_saif(SAIF) == {("TOP", "clk"): 4, ("TOP/a", "x"): 8, ("TOP/c", "x"): 1}


@pytest.mark.slow
def test_command_prints_a_table_and_json(capsys):
    arguments = ["toggles", "--preset", "tiny", "--rows", "2", "--cols", "3"]
    assert PROGRAM.main(arguments) == 0
    table = capsys.readouterr().out
    assert "tier MEASURED" in table
    lines = {line[:30].strip(): line[30:].split() for line in table.splitlines()[1:10]}
    assert PROGRAM.main([*arguments, "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tier"] == "MEASURED"
    assert set(report["toggles_per_operation"]) == set(toggles.CATEGORIES) <= set(lines)
    for category, figures in report["toggles_per_operation"].items():
        assert list(figures) == ["0", "1/3", "2/3"]
        assert lines[category] == [f"{figure:.3f}" for figure in figures.values()]
    selects = list(report["toggles_per_operation"]["selects"].values())
    # More zero trits, fewer toggles.
    assert selects == sorted(selects, reverse=True)
    assert selects[2] < 0.6 * selects[0]


@pytest.mark.slow
def test_page_shows_what_the_command_prints(capsys):
    assert PROGRAM.main(["toggles"]) == 0
    shown = capsys.readouterr().out.splitlines()[:10]
    page = (Path(__file__).parents[2] / "docs" / "switching.md").read_text()
    assert [line.rstrip() for line in shown] == re.search(r"```text\n(.*?)\n```", page, re.DOTALL)[
        1
    ].splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--preset", "huge"],
            "unknown preset 'huge'; known: tiny, decode, kv260, base, large, ecp5, ecp5_full, asic",
        ),
        (["--rows", "0"], "rows must be at least 1, not 0"),
        (["--seed", "-1"], "seed must be at least 0, not -1"),
        (["--zero-share", "3/2"], "a share of zero trits must be 0 to 1, not 3/2"),
        (
            ["--bubbles", "1"],
            "bubbles must be a share of cycles, 0 or more and below 1, not 1.0",
        ),
        (["--preset", "large"], "cols_per_hop must divide cols = 4, which 16 does not"),
    ],
)
def test_bad_input_gets_one_line(arguments, message, capsys):
    assert PROGRAM.main(["toggles", *arguments]) == 2
    assert capsys.readouterr() == ("", f"python -m sim toggles: error: {message}\n")


@pytest.mark.parametrize("share", ["1/0", "few"])
def test_share_that_is_no_number_gets_its_name(share, capsys):
    with pytest.raises(SystemExit, match="2"):
        PROGRAM.main(["toggles", "--zero-share", share])
    assert f"--zero-share: invalid share: {share!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "tokens", "message"),
    [
        (
            CONFIGS[0].replace(dataflow="weight-stationary"),
            2,
            "toggles are measured of output-stationary arrays only",
        ),
        (CONFIGS[0], 3, "tokens must be a multiple of rows = 2, not 3"),
    ],
)
def test_what_cannot_be_measured_is_refused(config, tokens, message, tmp_path):
    with pytest.raises(InputError, match=message):
        toggles.run(config, np.zeros((tokens, 8), int), np.zeros((3, 8), int), folder=tmp_path)
    assert not list(tmp_path.iterdir())
