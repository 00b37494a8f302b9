import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch import config, timing
from tritloom.arch.config import PRESETS, ArrayConfig, preset
from tritloom.arch.errors import InputError


def smallest_width(low, high):
    """Bits of the narrowest two's complement word that holds both, found by trying."""
    bits = 1
    while not -(2 ** (bits - 1)) <= low <= high <= 2 ** (bits - 1) - 1:
        bits += 1
    return bits


def extreme_sums(terms, act_bits):
    """Least and greatest sum of so many trit x act products, from the extreme acts themselves."""
    acts = (-(2 ** (act_bits - 1)), 2 ** (act_bits - 1) - 1)
    products = [trit * act for trit in (-1, 0, 1) for act in acts]
    return terms * min(products), terms * max(products)


def array(**changes):
    return ArrayConfig(**{"rows": 2, "cols": 4, "lanes": 4} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, "rows must be at least 1, not 0"),
        ({"cols": -3}, "cols must be at least 1, not -3"),
        ({"lanes": 1025}, "lanes must be at most 1024, not 1025"),
        ({"rows": 2.0}, "rows must be an integer, not 2.0"),
        ({"cols": "4"}, "cols must be an integer, not '4'"),
        ({"lanes": True}, "lanes must be an integer, not True"),
        ({"rows": None}, "rows must be an integer, not None"),
        ({"act_bits": 1}, "act_bits must be at least 2, not 1"),
        ({"act_bits": 17}, "act_bits must be at most 16, not 17"),
        ({"max_k": 0}, "max_k must be at least 1, not 0"),
        ({"max_k": 2**30 + 1}, "max_k must be at most 1073741824, not 1073741825"),
        ({"cols_per_hop": 0}, "cols_per_hop must be at least 1, not 0"),
        ({"cols_per_hop": 3}, "cols_per_hop must divide cols = 4, which 3 does not"),
        ({"cols_per_hop": 8}, "cols_per_hop must divide cols = 4, which 8 does not"),
        ({"levels_per_stage": 0}, "levels_per_stage must be at least 1, not 0"),
        ({"input_stages": 2}, "input_stages must be at most 1, not 2"),
        (
            {"dataflow": "weight-stationary", "input_stages": 0},
            "input_stages must be 1 in a weight-stationary array, whose PEs keep their trits",
        ),
        ({"lanes_per_stage": 0}, "lanes_per_stage must be at least 1, not 0"),
        ({"diagnostics": 1}, "diagnostics must be true or false, not 1"),
        ({"select_stages": 2}, "select_stages must be at most 1, not 2"),
        ({"technology": "ice40"}, "technology must be generic or ecp5 or asic, not 'ice40'"),
        (
            {"technology": "ecp5", "lanes": 6},
            "lanes must be a power of two with technology ecp5, not 6",
        ),
        (
            {"technology": "ecp5", "lanes_per_chain": 3},
            "lanes_per_chain must be a power of two with technology ecp5, not 3",
        ),
        (
            {"technology": "ecp5", "dataflow": "weight-stationary"},
            "technology ecp5 is for output-stationary arrays, not weight-stationary ones",
        ),
        (
            {"technology": "asic", "lanes": 6},
            "lanes must be a power of two with technology asic, not 6",
        ),
        (
            {"technology": "asic", "select_stages": 1},
            "select_stages must be 0 with technology asic, not 1",
        ),
        (
            {"technology": "ecp5", "lanes": 1, "input_stages": 0},
            "input_stages must be 1 with technology ecp5 and 1 lane, not 0",
        ),
        ({"carries_per_stage": 1}, "carries_per_stage must be at least 2, not 1"),
        (
            {"technology": "asic", "dataflow": "weight-stationary"},
            "technology asic is for output-stationary arrays, not weight-stationary ones",
        ),
        ({"clock_hz": 0}, "clock_hz must be a number of hertz above 0, not 0"),
        ({"clock_hz": -1e9}, "clock_hz must be a number of hertz above 0, not -1000000000.0"),
        ({"clock_hz": float("nan")}, "clock_hz must be a number of hertz above 0, not nan"),
        ({"clock_hz": float("inf")}, "clock_hz must be a number of hertz above 0, not inf"),
        ({"clock_hz": "500e6"}, "clock_hz must be a number of hertz above 0, not '500e6'"),
        ({"clock_hz": True}, "clock_hz must be a number of hertz above 0, not True"),
    ],
)
def test_bad_parameter_is_named_with_its_value(changes, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        array(**changes)


@pytest.mark.parametrize("value", [1, 7, 1024])
@pytest.mark.parametrize("name", ["rows", "cols", "lanes"])
def test_smallest_odd_and_largest_sides_are_accepted(name, value):
    assert getattr(array(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("act_bits", 2, 16),
        ("max_k", 1, 2**30),
        ("cols_per_hop", 1, None),
        ("input_stages", 0, 1),
        ("levels_per_stage", 1, None),
        ("select_stages", 0, 1),
        ("lanes_per_chain", 1, 1024),
        ("lanes_per_stage", 1, None),
        ("hosted_selects", 0, None),
        # A full adder's sum takes as long as two carries.
        ("carries_per_stage", 2, None),
        ("buffer_tokens", 1, 65536),
    ],
)
def test_parameter_is_taken_up_to_its_ends_and_no_further(name, least, most):
    assert getattr(array(**{name: least}), name) == least
    with pytest.raises(InputError, match=f"^{name} must be at least {least}, not {least - 1}$"):
        array(**{name: least - 1})
    if most is not None:
        assert getattr(array(**{name: most}), name) == most
        with pytest.raises(InputError, match=f"^{name} must be at most {most}, not {most + 1}$"):
            array(**{name: most + 1})


@pytest.mark.parametrize(
    "changes", [{"lanes": 2}, {"select_stages": 1}, {"input_stages": 1}, {"technology": "generic"}]
)
def test_a_register_in_front_of_ecp5_s_selects_is_for_one_lane_alone(changes):
    assert array(**{"technology": "ecp5", "lanes": 1, "input_stages": 0} | changes)


@pytest.mark.parametrize("clock_hz", [1e-3, 1, 9.99e11])
def test_clock_is_below_a_terahertz(clock_hz):
    assert array(clock_hz=clock_hz).clock_hz == clock_hz
    with pytest.raises(InputError, match=r"^clock_hz must be a number of hertz above 0, not 1000"):
        array(clock_hz=1e12)


def test_clock_unless_stated_is_that_of_the_published_rate():
    # docs/speak.md: 9,005 cycles a token are 55,525 tokens a second.
    assert array().clock_hz == pytest.approx(9005 * 55525, rel=1e-4)


def test_replace_validates_and_follows():
    changed = array().replace(lanes=16)
    assert changed.tree_levels == 4
    with pytest.raises(InputError, match="rows must be at least 1, not 0"):
        array().replace(rows=0)


@pytest.mark.parametrize("act_bits", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("max_k", [1, 2, 3, 127, 128, 4096, 11008, 32768, 2**30])
def test_psum_is_the_narrowest_that_never_overflows(max_k, act_bits):
    assert array(max_k=max_k, act_bits=act_bits).psum_bits == smallest_width(
        *extreme_sums(max_k, act_bits)
    )


@pytest.mark.parametrize("act_bits", [2, 8, 16])
@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 7, 8, 16, 17, 1024])
def test_tree_is_the_narrowest_that_never_overflows(lanes, act_bits):
    least, greatest = extreme_sums(lanes, act_bits)
    # The greatest is reached by negations alone, and one of their carries stays outside the sum.
    wanted = smallest_width(least, greatest - 1)
    assert array(lanes=lanes, act_bits=act_bits).tree_bits == wanted


@pytest.mark.parametrize("lanes", [1, 2, 3, 4, 5, 8, 9, 16, 31, 32, 33, 1024])
@pytest.mark.parametrize("levels_per_stage", [1, 2, 3, 20])
def test_tree_levels_and_stages_match_a_tree_built_by_pairing(lanes, levels_per_stage):
    operands, levels, stages, since_register = lanes, 0, 0, 0
    while operands > 1:
        operands = operands // 2 + operands % 2
        levels += 1
        since_register += 1
        if since_register == levels_per_stage:
            stages, since_register = stages + 1, 0
    stages += since_register > 0
    cut = array(lanes=lanes, levels_per_stage=levels_per_stage)
    assert (cut.tree_levels, cut.tree_stages) == (levels, stages)


@pytest.mark.parametrize("lanes", [1, 2, 4, 32, 64])
@pytest.mark.parametrize("lanes_per_chain", [1, 2, 8, 128])
@pytest.mark.parametrize("levels_per_stage", [1, 2, 3, 20])
@pytest.mark.parametrize("lanes_per_stage", [1, 2, 3])
@pytest.mark.parametrize("select_stages", [0, 1])
def test_ecp5_lanes_come_when_a_walk_along_their_chain_meets_them(
    lanes, lanes_per_chain, levels_per_stage, lanes_per_stage, select_stages
):
    cut = array(
        lanes=lanes,
        lanes_per_chain=lanes_per_chain,
        levels_per_stage=levels_per_stage,
        lanes_per_stage=lanes_per_stage,
        select_stages=select_stages,
        technology="ecp5",
    )
    place_count = min(lanes, lanes_per_chain)
    # The first select, then an adder for each further lane; registers behind every few of them.
    delays, stage, since_register = [0], select_stages, 0
    for _ in range(1, place_count):
        if since_register == lanes_per_stage:
            stage, since_register = stage + 1, 0
        delays.append(stage)
        since_register += 1
    stage += since_register > 0
    operands, since_register = lanes // place_count, 0
    while operands > 1:
        operands //= 2
        since_register += 1
        if since_register == levels_per_stage or operands == 1:
            stage, since_register = stage + 1, 0
    assert cut.tree_stages == stage + 1
    met = {lane: delay for delay, group in enumerate(cut.lane_groups) for lane in group}
    assert met == {lane: delays[lane // (lanes // place_count)] for lane in range(lanes)}


@pytest.mark.parametrize("technology", ["generic", "ecp5"])
def test_a_select_stage_is_one_more(technology):
    stages = [
        array(lanes=8, technology=technology, select_stages=count).tree_stages for count in (0, 1)
    ]
    assert stages[1] == stages[0] + 1


@pytest.mark.parametrize(
    ("cols", "cols_per_hop", "hops"), [(1, 1, 1), (6, 1, 6), (6, 2, 3), (6, 6, 1)]
)
def test_hops_count_groups_of_columns(cols, cols_per_hop, hops):
    assert array(cols=cols, cols_per_hop=cols_per_hop).hops == hops


def test_stream_widths_hold_what_one_beat_carries():
    shape = array(rows=3, cols=5, lanes=7, act_bits=6)
    assert shape.acts_bits == sum(6 for _row in range(3) for _lane in range(7))
    assert shape.trits_bits == sum(2 for _col in range(5) for _lane in range(7))
    assert shape.psums_bits == 5 * shape.psum_bits
    assert shape.macs_per_cycle == 105
    assert shape.shape == "3x5x7"


NAMES = [field.name for field in dataclasses.fields(ArrayConfig)]
ANYTHING = st.one_of(
    st.integers(-2, 9),
    st.sampled_from([16, 64, 1024, 1 << 16, 1 << 30, 1 << 70, 10**400, *config.Dataflow]),
    st.sampled_from([*config.Technology, "", "a\nb", None, True, False, [], {}, [1], b"x", (2,)]),
    st.floats(),
)
POWERS = st.sampled_from([1, 2, 4, 16, 64, 1024])
SOUND = {
    "rows": st.integers(1, 1024),
    "cols": POWERS,
    "lanes": POWERS,
    "act_bits": st.integers(2, 16),
    "max_k": st.integers(1, 1 << 30),
    "cols_per_hop": st.just(1),
    "input_stages": st.integers(0, 1),
    "levels_per_stage": st.integers(1, 12),
    "select_stages": st.integers(0, 1),
    "dataflow": st.sampled_from(list(config.Dataflow)),
    "technology": st.sampled_from(list(config.Technology)),
    "lanes_per_chain": POWERS,
    "lanes_per_stage": st.integers(1, 12),
    "hosted_selects": st.integers(0, 12),
    "carries_per_stage": st.integers(2, 40),
    "buffer_tokens": st.integers(1, 1 << 16),
    "diagnostics": st.booleans(),
}


@settings(max_examples=400)
@given(
    sound=st.fixed_dictionaries(SOUND),
    odd=st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=1),
)
def test_any_values_make_an_array_that_adds_up_or_one_line(sound, odd):
    try:
        made = ArrayConfig(**sound | odd)
    except InputError as error:
        message = str(error)
        made = None
    if made is None:
        assert len(message.splitlines()) == 1
        assert any(name in message for name in NAMES)
        return
    assert made.replace() == made == ArrayConfig(**dataclasses.asdict(made))
    assert made.psum_bits == smallest_width(*extreme_sums(made.max_k, made.act_bits))
    assert made.hops * made.cols_per_hop == made.cols
    if made.lanes <= 64:
        assert sorted(lane for group in made.lane_groups for lane in group) == list(
            range(made.lanes)
        )
        assert timing.drain_latency(made) > made.tree_stages >= 0
    slots = made.act_buffer_beats * made.rows * made.lanes
    tokens = made.group_tokens
    assert tokens * made.max_k <= slots < tokens * (made.max_k + made.slices_per_tile * made.lanes)


def test_buffer_by_default_is_as_large_as_that_of_an_output_stationary_base():
    output = preset("base")
    stationary = output.replace(dataflow="weight-stationary")
    assert stationary.buffer_tokens == output.rows == config.BUFFER_TOKENS
    sizes = {made.act_buffer_beats * made.acts_bits // 8 for made in (output, stationary)}
    assert sizes == {512 << 10}


STATED = {
    name: comment
    for comment, name in re.findall(
        r'# (\d+ a cycle, \d+ cycles latency)\n\s+"(\w+)": (?:ArrayConfig|_ecp5)',
        Path(config.__file__).read_text(),
    )
}


@pytest.mark.parametrize("name", PRESETS)
def test_preset_comment_states_the_result(name):
    chosen = preset(name)
    macs = sum(1 for _ in range(chosen.rows) for _ in range(chosen.cols)) * chosen.lanes
    assert STATED[name] == f"{macs} a cycle, {timing.drain_latency(chosen)} cycles latency"


@pytest.mark.parametrize("name", ["huge", "", "BASE", None, 3, []])
def test_unknown_preset_is_named_and_known_ones_listed(name):
    message = (
        f"unknown preset {name!r}; known: tiny, decode, kv260, base, large, ecp5, ecp5_full, asic"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        preset(name)
