"""Machines: a layer's time from cycles and bytes; machines from files."""

import dataclasses
from pathlib import Path

import pytest

from tritloom.arch.config import preset
from tritloom.arch.errors import InputError
from tritloom.arch.tiling import WeightStationaryPlan
from tritloom.arch.timing import gemm_cycles
from tritloom.arch.workload import Gemm, Layer
from tritloom.energy_model.__main__ import PROGRAM
from tritloom.energy_model.costs.table import load_costs
from tritloom.energy_model.costs.tiers import Tier
from tritloom.energy_model.machine.file import hardware_names, load_dram, load_machine, parse_array
from tritloom.energy_model.machine.machine import Dram, Machine
from tritloom.energy_model.machine.text import machine_parameters

SQUARE = Machine(name="square", engine=parse_array("64x64x16/4"), dram=load_dram())


def layer(m, k, n, *, weight="ternary", count=1, trained=True):
    act = "int8" if weight == "ternary" else "fp16"
    return Layer(name="x", gemm=Gemm(m, k, n), count=count, weight=weight, act=act, trained=trained)


def test_dram_is_the_published_a100_memory():
    dram = load_dram()
    assert dram.bytes_per_s == 2.039e12
    assert dram.tier == Tier.PUBLISHED
    assert dram.source


def test_an_unknown_dram_is_rejected():
    with pytest.raises(InputError, match="unknown DRAM 'tape'; known: hbm2e_a100,"):
        load_dram("tape")


def test_a_dram_without_bandwidth_is_rejected():
    with pytest.raises(InputError, match="bytes_per_s of slow must be above 0, not 0"):
        Dram(name="slow", title="Slow", bytes_per_s=0, source="here", tier=Tier.INFERRED)


def test_decode_layer_takes_the_cycles_counted_by_hand():
    # 8192 / 16 = 512 beats for each of 8192 / 64 = 128 tiles; the last psum beat leaves 83 later.
    time = SQUARE.run(layer(1, 8192, 8192, count=80))
    assert time.cycles == 80 * (128 * 512 + 83)
    assert time.compute_s == pytest.approx(time.cycles / 500e6)
    # Weights at 2 bits, acts at 8, psums at 24.
    assert time.dram_bytes == 80 * (8192 * 8192 / 4 + 8192 + 3 * 8192)
    assert time.dram_s == pytest.approx(time.dram_bytes / 2.039e12)
    assert time.bound == "compute"
    assert time.latency_s == time.compute_s


def test_fp16_layer_takes_the_same_cycles_and_eight_times_the_weight_bytes():
    ternary = SQUARE.run(layer(1, 8192, 8192))
    fp16 = SQUARE.run(layer(1, 8192, 8192, weight="fp16"))
    assert fp16.cycles == ternary.cycles
    assert fp16.dram_bytes == 2 * 8192 * 8192 + 2 * 8192 + 2 * 8192


def test_an_array_as_fast_as_its_dram_makes_decode_eight_times_faster():
    machine = Machine(name="wide", engine=parse_array("4x1024x16/64"), dram=load_dram())
    ternary = machine.run(layer(1, 8192, 8192))
    fp16 = machine.run(layer(1, 8192, 8192, weight="fp16"))
    assert fp16.bound == "dram"
    assert fp16.latency_s / ternary.latency_s == pytest.approx(8, rel=0.02)


def test_weight_bandwidth_of_the_array():
    assert SQUARE.weight_bytes_per_s("ternary") == 64 * 16 / 4 * 500e6
    assert SQUARE.weight_bytes_per_s("fp16") == 64 * 16 * 2 * 500e6


def test_run_time_operands_are_not_padded():
    stored = SQUARE.run(layer(1, 100, 10, weight="fp16"))
    made = SQUARE.run(layer(1, 100, 10, weight="fp16", trained=False))
    assert stored.dram_bytes - made.dram_bytes == 2 * (112 * 64 - 100 * 10)


@pytest.mark.parametrize(("kv", "bits"), [("fp16", 16), ("int8", 8), ("int4", 4)])
@pytest.mark.parametrize("machine", [SQUARE, load_machine("a100")], ids=lambda m: m.name)
def test_a_cache_is_read_at_its_bits_beside_acts_and_psums_of_16(machine, kv, bits):
    made = machine.run(layer(3, 100, 10, weight=kv, trained=False))
    assert 8 * made.dram_bytes == bits * 100 * 10 + 16 * (3 * 100 + 3 * 10)


@pytest.mark.parametrize(
    ("weight", "weight_bits", "act_bits", "peak"),
    [("ternary", 2, 8, 624e12), ("fp16", 16, 16, 312e12)],
)
def test_a_roofline_moves_each_operand_once_and_computes_at_its_peak(
    weight, weight_bits, act_bits, peak
):
    once = load_machine("a100").run(layer(3, 100, 10, weight=weight))
    bits = weight_bits * 100 * 10 + act_bits * 3 * 100 + 16 * 3 * 10
    assert 8 * once.dram_bytes == bits
    assert once.compute_s == pytest.approx(2 * 3 * 100 * 10 / peak, rel=1e-12)


def test_context_longer_than_a_psum_allows_still_fits_the_fp16_array():
    assert SQUARE.run(layer(1, 1 << 20, 128, weight="fp16", trained=False)).cycles > 1 << 16


@pytest.mark.parametrize(
    ("name", "shape", "hops"),
    [("base", "16x16x16", 16), ("large-ws", "4x256x64", 16), ("4x1024x16/64", "4x1024x16", 16)],
)
def test_array_is_a_preset_or_a_shape(name, shape, hops):
    array = load_machine(name).array
    assert (array.shape, array.hops) == (shape, hops)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("huge", "unknown hardware 'huge'; known: a100, arty35t, base, .*, or ROWSxCOLSxLANES"),
        ("4x4", "unknown hardware '4x4'"),
        ("4x4x", "unknown hardware '4x4x'"),
        ("4x4x-1", "unknown hardware '4x4x-1'"),
        ("4x4x4/x", "unknown hardware '4x4x4/x'"),
        ("0x4x4", "rows must be at least 1, not 0"),
        ("4x4x4/3", "cols_per_hop must divide cols = 4, which 3 does not"),
        ("4x4x4/0", "cols_per_hop must be at least 1, not 0"),
    ],
)
def test_a_wrong_array_is_rejected(name, message):
    with pytest.raises(InputError, match=message):
        load_machine(name)


ARRAY = """\
title: mine
array:
  preset: base
  rows: 8
memory:
  dram:
    title: tape
    bytes: 1.0e+9
    bytes_per_s: 1.0e+9
    tier: INFERRED
    source: here
    efficiency: 0.5
    energy: {low: 1, nominal: 2, high: 3, unit: pJ/bit, tier: INFERRED, source: here}
  sram:
    bytes: 1000
    tier: INFERRED
    source: here
  registers:
    energy: {low: 1, nominal: 1, high: 1, unit: pJ/bit, tier: INFERRED, source: here}
compute: {ternary: int8}
static_w: {low: 0, nominal: 1, high: 2, tier: INFERRED, source: here}
costs:
  select: {low: 0, nominal: 0, high: 0, unit: pJ, tier: INFERRED, source: here}
"""

ROOFLINE = """\
title: mine
peaks:
  fp16: 1.0e+12
  int8: 2.0e+12
  efficiency: 0.5
  tier: INFERRED
  source: here
compute: {ternary: fp16}
memory: {dram: ddr4_2400}
"""


def test_engine_is_an_array_or_peaks():
    with pytest.raises(TypeError, match="engine of x must be an ArrayConfig or Peaks, not str"):
        Machine(name="x", engine="64x64x16", dram=load_dram())


@pytest.mark.parametrize(
    ("name", "there", "absent"), [("large", "array", "peaks"), ("a100", "peaks", "array")]
)
def test_parameters_for_json_have_the_keys_of_a_machine_file(name, there, absent):
    machine = load_machine(name)
    parameters = machine_parameters(machine)
    assert list(parameters) == (
        ["name", "title", "dram", "array", "peaks", "packing", "compute", "sram", "costs", "static"]
    )
    assert parameters[there] == dataclasses.asdict(machine.engine)
    assert parameters[absent] is None
    assert parameters["packing"] == machine.packing.name


def test_array_has_no_peaks_and_roofline_no_array():
    assert not SQUARE.is_roofline
    with pytest.raises(InputError, match="square has arrays, which have cycles instead of peaks"):
        _ = SQUARE.peaks
    roofline = load_machine("a100")
    assert roofline.is_roofline
    with pytest.raises(InputError, match="a100 is a roofline, which has no array"):
        _ = roofline.array


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ops_per_s": {"fp16": 1e12}}, "peaks must be those of fp16 and int8, not of fp16"),
        ({"ops_per_s": {"fp16": 1e12, "int8": 0.0}}, "peak of int8 must be above 0, not 0.0"),
        ({"efficiency": 0.0}, "efficiency must be above 0 and at most 1, not 0.0"),
        ({"efficiency": 1.5}, "efficiency must be above 0 and at most 1, not 1.5"),
    ],
)
def test_wrong_peaks_are_told(changed, message):
    with pytest.raises(InputError, match=f"^{message}"):
        dataclasses.replace(load_machine("a100").peaks, **changed)


def test_roofline_that_does_not_say_how_it_computes_trits_is_told(tmp_path):
    text = ROOFLINE.replace("compute: {ternary: fp16}\n", "")
    machine = load_machine(str(written(tmp_path, text)))
    assert machine.run(layer(1, 100, 10, weight="fp16")).dram_bytes > 0
    with pytest.raises(InputError, match="mine has no peak of ternary: compute must say what"):
        machine.run(layer(1, 100, 10))


def written(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_a_machine_is_read_from_yaml(tmp_path):
    machine = load_machine(str(written(tmp_path, ARRAY)))
    assert (machine.name, machine.title, machine.array.shape) == ("mine", "mine", "8x16x16")
    assert machine.dram.bytes_per_s == machine.dram.bytes == 1e9
    assert (machine.sram.bytes, machine.static.watts.high) == (1000, 2)
    prices = machine.prices(load_costs("paper"))
    nominal = {
        action: prices.cost(action).nominal
        for action in ("psum_hop_bits", "act_dram_bits", "act_buffer_bits", "select", "add_int8")
    }
    # A machine's own cost comes first; the table's stands in where it has none.
    assert nominal == {
        "psum_hop_bits": 1,
        "act_dram_bits": 2,
        "act_buffer_bits": 8.5,
        "select": 0,
        "add_int8": 0.007,
    }
    run = machine.run(layer(1, 8192, 8192))
    assert run.product.dtype == "int8"
    assert run.dram_s == pytest.approx(run.dram_bytes / 0.5e9)


def test_the_file_that_the_docs_show_is_a_machine(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "energy.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    machine = load_machine(str(written(tmp_path, text)))
    assert machine.array == preset("large").replace(dataflow="weight-stationary", buffer_tokens=512)
    assert machine.sram.bytes == 4e6
    for name in hardware_names():
        assert f"`{name}`" in page


def test_a_roofline_is_read_from_yaml(tmp_path):
    machine = load_machine(str(written(tmp_path, ROOFLINE)))
    run = machine.run(layer(512, 1024, 1024))
    assert (run.product.dtype, run.cycles) == ("fp16", 0)
    assert run.compute_s == pytest.approx(2 * 512 * 1024 * 1024 / 0.5e12)


def test_packed_five_to_a_byte_weights_are_a_fifth_fewer_bytes(tmp_path):
    two, five = (
        load_machine(str(written(tmp_path, ARRAY.replace("compute", f"packing: {name}\ncompute"))))
        for name in ("trit2", "trit5")
    )
    # 16 columns of 16 lanes divide both sides, so that nothing is padded.
    product = layer(1, 640, 640)
    assert two.run(product).product.operand_bits == 640 * 640 / 4 * 8
    assert five.run(product).product.operand_bits == 640 * 640 / 5 * 8
    assert five.run(product).cycles == two.run(product).cycles
    assert five.weight_bytes_per_s("ternary") == 0.8 * two.weight_bytes_per_s("ternary")
    small = [layer(1, 64, 78)]
    assert (five.holds(small), two.holds(small)) == (True, False)


def test_costs_of_a_table_can_be_named(tmp_path):
    machine = load_machine(
        str(written(tmp_path, ROOFLINE.replace("peaks", "costs: asic16\npeaks")))
    )
    prices = machine.prices(load_costs("paper"))
    assert prices.cost("add_int8").nominal == 0.0145
    assert prices.cost("psum_buffer_bits").nominal == 13
    # The energy of a DRAM bit is that of the DRAM itself, not of the table.
    assert prices.cost("psum_dram_bits").nominal == 20.3


@pytest.mark.parametrize("name", hardware_names())
def test_every_machine_with_a_file_prices_all_that_a_model_does(name):
    machine = load_machine(name)
    assert machine.title
    prices = machine.prices(load_costs("paper"))
    for weight in ("ternary", "fp16", "int8"):
        run = machine.run(layer(8, 100, 100, weight=weight))
        assert run.latency_s > 0
        for (_, action), _ in (*run.product.actions, *run.product.operand):
            assert prices.cost(action), action


def test_an_int8_array_multiplies_and_accumulates_in_32_bits():
    run = load_machine("base-int8").run(layer(16, 256, 256))
    counts = {action: count for (_, action), count in run.product.actions}
    assert counts["mul_int8"] == 16 * 256 * 256
    # The last of 16 products' sums is 20 bits wide; accumulators have 32.
    assert {"add_int17", "add_int20", "add_int32"} <= counts.keys()
    assert "select" not in counts
    assert counts["psum_dram_bits"] == 32 * 16 * 256
    # 16 tiles of 16 slices; weights pass 16 rows.
    assert counts["trit_hop_bits"] == 16 * 16 * (16 * 16 * 16) * 8


def test_a_weight_stationary_array_takes_the_cycles_of_its_formula():
    machine = load_machine("large-ws")
    gemm = Gemm(512, 4096, 4096)
    run = machine.run(Layer(name="x", gemm=gemm, count=2, weight="ternary", act="int8"))
    assert run.cycles == 2 * gemm_cycles(WeightStationaryPlan(machine.array, gemm))
    # 512 tokens share the weights.
    assert run.product.operand_bits == 2 * 4096 * 4096


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (ARRAY, "preset: base", "preset: bse", "line 3: array.preset: unknown preset 'bse'"),
        (ARRAY, "rows: 8", "rows: 0", "line 4: array.rows: rows must be at least 1, not 0"),
        (ARRAY, "rows: 8", "rwos: 8", "line 4: array has an unknown key 'rwos'"),
        (ARRAY, "preset: base", "cols: 4", "line 2: array: lanes is missing"),
        (ARRAY, "1.0e+9", "1e9", "line 8: memory.dram.bytes must be a number, not '1e9'"),
        (ARRAY, "_s: 1.0e+9", "_s: 0", "line 9: memory.dram.bytes_per_s must be above 0, not 0"),
        (ARRAY, "efficiency: 0.5", "efficiency: 2", "line 12: memory.dram.efficiency must be at m"),
        (ARRAY, "energy: {low: 1", "energy: {low: 9", "line 13: memory.dram.energy: low, nominal"),
        (ARRAY, "bytes: 1000", "bytes: -1", "line 15: memory.sram.bytes must be a finite number"),
        (ARRAY, "  registers", "  regs", "line 18: memory has an unknown key 'regs'"),
        (
            ARRAY,
            "ternary: int8",
            "ternary: int4",
            "line 20: compute.ternary must be one of",
        ),
        (
            ARRAY,
            "nominal: 1, high: 2",
            "nominal: 3, high: 2",
            "line 21: static_w: low, nominal",
        ),
        (
            ARRAY,
            "select",
            "selct",
            "line 23: costs.selct: 'selct' is not an action that can have a cost",
        ),
        (ARRAY, "unit: pJ/bit", "unit: pJ", "line 13: memory.dram.energy: dram_bits: unit must be"),
        (ARRAY, "title: mine", "titel: mine", "has no title"),
        (ARRAY, "array:\n", "peaks: {}\narray:\n", "must have either an array or peaks"),
        (ROOFLINE, "fp16: 1.0e+12", "fp16: 0", "line 3: peaks.fp16 must be above 0, not 0"),
        (ROOFLINE, "ternary: fp16", "ternary: ternary", "line 8: compute.ternary must be one of i"),
        (ROOFLINE, "ddr4_2400", "tape", "line 9: memory.dram: unknown DRAM 'tape'; known: hbm2e"),
        (ROOFLINE, "  tier: INFERRED\n", "", "line 2: peaks has no tier"),
        (ROOFLINE, "peaks:", "peaks: [1]\nx:", "unknown key 'x'"),
        (
            ROOFLINE,
            "peaks:",
            "packing: trit3\npeaks:",
            "line 2: packing must be trit2 or trit5, not",
        ),
        (
            ROOFLINE,
            "peaks:",
            "costs: fpga\npeaks:",
            "line 2: costs: unknown costs 'fpga'; known: a",
        ),
    ],
)
def test_a_wrong_machine_is_one_line_with_file_line_and_key(tmp_path, text, old, new, message):
    assert old in text
    path = written(tmp_path, text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_machine(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_machine_without_a_file_is_rejected():
    with pytest.raises(InputError, match=r"cannot read nope\.yaml: No such file"):
        load_machine("nope.yaml")


def test_a_report_says_how_many_bits_its_packing_has(capsys):
    assert (
        PROGRAM.main(
            ["report", "--size", "700m", "--hardware", "u280", "--phase", "decode", "--details"]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "(1.6 bit)" in text
    assert "at most 10.0x at 1.6 bits a weight" in text


def test_memory_without_a_stated_capacity_is_told():
    dram = load_dram()
    assert dram.capacity_bytes == dram.bytes
    with pytest.raises(InputError, match="states no capacity"):
        _ = dataclasses.replace(dram, bytes=None).capacity_bytes
