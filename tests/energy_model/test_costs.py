"""energy_model.costs.table: published costs, interpolation, and pricing of counts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritloom.arch.config import preset
from tritloom.arch.counts import Counts, array_counts
from tritloom.arch.errors import InputError
from tritloom.arch.tiling import OutputStationaryPlan
from tritloom.arch.workload import Gemm
from tritloom.energy_model.costs.table import (
    Cost,
    CostTable,
    Energy,
    Range,
    category,
    load_costs,
    price,
)
from tritloom.energy_model.costs.tiers import Tier, weakest

PAPER = load_costs("paper")

COST = {
    "low": 1.0,
    "nominal": 2.0,
    "high": 3.0,
    "unit": "pJ",
    "source": "here",
    "tier": Tier.PUBLISHED,
}


# Table 2 of Jouppi et al., ISCA 2021, 7 nm, in picojoules.
@pytest.mark.parametrize(
    ("action", "picojoules"),
    [
        ("add_int8", 0.007),
        ("add_int32", 0.03),
        ("add_bf16", 0.11),
        ("add_fp16", 0.16),
        ("add_fp32", 0.38),
        ("mul_int8", 0.07),
        ("mul_int32", 1.48),
        ("mul_bf16", 0.21),
        ("mul_fp16", 0.34),
        ("mul_fp32", 1.31),
    ],
)
def test_paper_prices_operations_as_published(action, picojoules):
    cost = PAPER.cost(action)
    assert cost.energy_j.nominal == pytest.approx(picojoules * 1e-12, rel=1e-12)
    assert cost.tier == Tier.PUBLISHED
    assert "Jouppi" in cost.source


@pytest.mark.parametrize(
    ("action", "per_64_bits"),
    [("weight_buffer_bits", (7.5, 8.5, 14)), ("act_buffer_bits", (7.5, 8.5, 14))],
)
def test_paper_prices_buffer_bits_by_the_published_sram_access(action, per_64_bits):
    joules = 64 * PAPER.cost(action).energy_j
    assert (joules.low, joules.nominal, joules.high) == pytest.approx(
        [pj * 1e-12 for pj in per_64_bits]
    )


@pytest.mark.parametrize("action", ["act_dram_bits", "weight_dram_bits", "psum_dram_bits"])
def test_paper_prices_dram_bits_within_the_published_spread(action):
    joules = PAPER.cost(action).energy_j
    assert (joules.low, joules.high) == pytest.approx((3.97e-12, 6.0e-12))
    assert joules.low < joules.nominal < joules.high


@pytest.mark.parametrize(
    ("bits", "picojoules"), [(12, 0.0108333333), (20, 0.0185), (24, 0.0223333333)]
)
def test_adder_between_8_and_32_bits_is_linear_in_width_and_derived(bits, picojoules):
    cost = PAPER.cost(f"add_int{bits}")
    assert cost.nominal == pytest.approx(picojoules)
    assert cost.tier == Tier.DERIVED


@pytest.mark.parametrize("bits", [4, 40])
def test_adder_outside_8_to_32_bits_is_projected(bits):
    assert PAPER.cost(f"add_int{bits}").tier == Tier.PROJECTED


def test_adder_too_narrow_for_the_line_has_no_cost():
    steep = {"add_int8": 1.0, "add_int32": 100.0}
    table = CostTable(
        name="steep",
        node="none",
        entries={a: Cost(**COST | {"low": v, "nominal": v, "high": v}) for a, v in steep.items()},
    )
    assert table.cost("add_int4") is None
    assert table.cost("add_int9").nominal == pytest.approx(1 + 99 / 24)


@given(bits=st.integers(1, 200))
def test_a_wider_adder_never_costs_less(bits):
    assert PAPER.cost(f"add_int{bits}").nominal < PAPER.cost(f"add_int{bits + 1}").nominal


@pytest.mark.parametrize(
    "action", ["select", "act_hop_bits", "add_int", "add_intx", "frob", "x_add_int8", "dram_bit"]
)
def test_paper_has_no_cost_for(action):
    assert PAPER.cost(action) is None


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("add_int24", "arithmetic"),
        ("mul_fp16", "arithmetic"),
        ("select", "arithmetic"),
        ("psum_hop_bits", "registers"),
        ("act_buffer_bits", "buffer"),
        ("weight_dram_bits", "DRAM"),
        ("frob", "unknown"),
    ],
)
def test_category_of(action, expected):
    assert category(action) == expected


def test_price_is_counts_times_costs_by_category():
    counts = Counts(add_int8=1000, mul_fp16=10, act_buffer_bits=640, weight_dram_bits=100)
    energy = price(counts, PAPER)
    nominal = {name: part.total_j.nominal for name, part in energy.by_category.items()}
    assert nominal == pytest.approx(
        {"arithmetic": 7e-12 + 3.4e-12, "buffer": 85e-12, "DRAM": 498.5e-12}
    )
    assert energy.total_j.nominal == pytest.approx(math.fsum(nominal.values()))
    assert energy.total_j.low < energy.total_j.nominal < energy.total_j.high


def test_what_has_no_cost_is_unpriced_and_not_zero():
    energy = price(Counts(add_int8=1, select=5, act_hop_bits=7), PAPER)
    assert dict(energy.unpriced) == {"select": 5, "act_hop_bits": 7}
    assert set(energy.by_action) == {"add_int8"}
    assert list(energy.by_category) == ["arithmetic", "registers"]


def test_every_action_of_an_array_is_priced_or_listed_as_unpriced():
    counts = array_counts(OutputStationaryPlan(preset("base"), Gemm(5, 100, 70)), bits_per_trit=2)
    energy = price(counts, PAPER)
    assert set(energy.by_action) | set(energy.unpriced) == set(counts)
    assert not set(energy.by_action) & set(energy.unpriced)
    assert "unknown" not in energy.by_category


def test_energy_is_as_weak_as_its_weakest_cost():
    assert price(Counts(add_int8=1), PAPER).tier == Tier.DERIVED
    assert price(Counts(add_int8=1, add_int40=1), PAPER).tier == Tier.PROJECTED
    assert weakest([Tier.MEASURED, Tier.INFERRED, Tier.PUBLISHED]) == Tier.INFERRED


ACTIONS = ["add_int8", "add_int20", "mul_fp16", "select", "act_dram_bits", "act_hop_bits"]
COUNTS = st.dictionaries(st.sampled_from(ACTIONS), st.integers(0, 10**12)).map(
    lambda counts: Counts(**counts)
)


@given(a=COUNTS, b=COUNTS, factor=st.integers(0, 1000))
def test_price_is_linear(a, b, factor):
    together, apart = price(a + factor * b, PAPER), price(a, PAPER) + factor * price(b, PAPER)
    for name in ("low", "nominal", "high"):
        assert getattr(together.total_j, name) == pytest.approx(getattr(apart.total_j, name))
    assert set(together.unpriced) == set(apart.unpriced)


def test_energy_of_nothing_is_nothing():
    assert Energy().total_j == Range()
    assert sum([Energy(), price(Counts(add_int8=1), PAPER)], start=Energy()).total_j.nominal == (
        pytest.approx(7e-15)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nominal": "8e-12"}, "nominal must be a number, not '8e-12' .*write 8.0e-12"),
        ({"nominal": True}, "nominal must be a number, not True"),
        ({"low": -1.0}, "low must be a finite number of at least 0, not -1.0"),
        ({"high": math.inf}, "high must be a finite number of at least 0, not inf"),
        ({"nominal": math.nan}, "nominal must be a finite number of at least 0, not nan"),
        ({"low": 2.5}, "must rise, which 2.5, 2.0, 3.0 do not"),
        ({"unit": "J"}, "unit must be one of pJ, pJ/bit, pJ/64bit, not 'J'"),
        ({"unit": ["pJ"]}, "unit must be text"),
        ({"source": " "}, "source must be text, not ' '"),
        ({"source": None}, "source must be text, not None"),
        ({"tier": "GUESSED"}, "tier must be one of MEASURED.*, not 'GUESSED'"),
    ],
)
def test_cost_rejects(changes, message):
    with pytest.raises(InputError, match=message):
        Cost(**COST | changes)


@pytest.mark.parametrize(
    ("action", "unit", "message"),
    [
        ("add_int8", "pJ/bit", "add_int8: unit must be pJ, not 'pJ/bit'"),
        ("dram_bits", "pJ", "dram_bits: unit must be pJ/bit or pJ/64bit, not 'pJ'"),
        ("ad_int8", "pJ", "'ad_int8' is not an action"),
    ],
)
def test_table_rejects(action, unit, message):
    with pytest.raises(InputError, match=message):
        CostTable(name="x", node="y", entries={action: Cost(**COST | {"unit": unit})})


GOOD = """\
name: mine
node: 5 nm
costs:
  add_int8: {low: 1, nominal: 2, high: 3, unit: pJ, source: here, tier: MEASURED}
"""


def test_a_users_table_is_read_from_yaml(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    table = load_costs(str(path))
    assert (table.name, table.node) == ("mine", "5 nm")
    assert table.cost("add_int8") == Cost(
        low=1, nominal=2, high=3, unit="pJ", source="here", tier=Tier.MEASURED
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "nominal: 2",
            "nominal: 8e-12",
            "line 4: costs.add_int8.nominal must be a number, not '8e-12'",
        ),
        (", source: here", "", "line 4: costs.add_int8 has no source"),
        (", tier: MEASURED", "", "add_int8 has no tier"),
        ("tier: MEASURED", "tier: SURE", "line 4: costs.add_int8.tier must be one of MEASURED"),
        ("high: 3", "high: 3, hihg: 3", "line 4: costs.add_int8 has an unknown key 'hihg'"),
        ("  add_int8", "  8", "costs must be a mapping with text keys"),
        ("nominal: 2", "nominal: 4", "line 4: costs.add_int8: low, nominal and high must rise"),
        ("name: mine", "node: mine", "line 2 has node twice"),
        ("name: mine", "name: &a [*a]", "nested too deeply, or in itself"),
        ("name: mine\n", "", "has no name"),
        ("node: 5 nm", "node: 5", "line 2: node must be text, not 5"),
        ("costs:", "costs: [", "is not YAML in line"),
        ("name", "\tname", "is not YAML in line 1"),
    ],
)
def test_a_bad_table_is_one_line_that_names_the_file(tmp_path, old, new, message):
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        load_costs(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "- 1", "text"])
def test_a_table_that_is_no_mapping_is_rejected(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match="must be a mapping"):
        load_costs(str(path))


def test_a_table_that_is_not_text_is_rejected(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8 text"):
        load_costs(str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nope", "unknown costs 'nope'; known: asap7, asic16, fpga16, paper"),
        ("nope.yaml", "cannot read nope.yaml: No such"),
    ],
)
def test_an_unknown_table_is_rejected(name, message):
    with pytest.raises(InputError, match=message):
        load_costs(name)


def test_a_table_falls_back_on_the_paper_s(tmp_path):
    path = tmp_path / "mine.yaml"
    own = "{low: 1, nominal: 1, high: 1, unit: pJ, tier: DERIVED, source: here}"
    text = f"name: mine\nnode: mine\nnote: a word\notherwise: paper\ncosts:\n  add_int8: {own}\n"
    path.write_text(text)
    table, paper = load_costs(str(path)), load_costs("paper")
    assert table.note == "a word"
    assert table.cost("add_int8").source == "here"
    assert table.cost("dram_bits") == paper.cost("dram_bits")
    assert paper.note is None
    path.write_text(text.replace("otherwise: paper", "otherwise: mine.yaml"))
    with pytest.raises(InputError, match=r"line 4: otherwise must be paper, not 'mine\.yaml'"):
        load_costs(str(path))


def test_netlists_agree_with_published_energies_where_both_have_one():
    netlists, paper = load_costs("asap7"), load_costs("paper")
    ratios = {
        action: netlists.joules(action).nominal / paper.joules(action).nominal
        for action in ("add_int8", "add_int32", "mul_int8", "mul_fp16", "add_fp16", "add_fp32")
    }
    # Another 7 nm process, another voltage, other designs.
    assert all(0.6 < ratio < 1.5 for ratio in ratios.values()), ratios


def test_price_of_an_action_that_a_table_has_not_is_told():
    paper = load_costs("paper")
    assert paper.priced("add_int8") == paper.cost("add_int8")
    with pytest.raises(InputError, match="costs 'paper' have no nonsense"):
        paper.priced("nonsense")
