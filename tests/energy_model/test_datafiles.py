"""Data files, configs and traces with values of all kinds: read, or refused in one line."""

import functools
import json
import random
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tritloom.arch.errors import InputError
from tritloom.arch.models.huggingface import FAMILIES, read_config
from tritloom.arch.models.known import find_model
from tritloom.energy_model.__main__ import PROGRAM
from tritloom.energy_model.costs.datafile import DATA
from tritloom.energy_model.costs.table import load_costs
from tritloom.energy_model.machine.file import load_machine
from tritloom.energy_model.sweep.file import read_sweep
from tritloom.energy_model.sweep.point import Evaluator
from tritloom.energy_model.trace.file import read_scalesim, read_trace

ROOT = Path(__file__).parents[2]
# As they stand in a file. PyYAML takes 8e-12 for text and 1:30 for ninety; the last ones it builds
# objects of, or fails to.
ODD = """null|~|true|no|0|-1|1|2|3|1.5|-0.0|8e-12|8.0e-12|.nan|.inf|-.inf|1e999|1.0e+308|0x10|0o17
1:30|[]|[[]]|[[1, [2]], 3]|{}|{a: 1}|{1: 2}|{a: 1, a: 2}|""|" "|a|fp16|ternary|é|"\\0"|"a\\nb"
2026-01-01|2026-99-99|!!int x|!!float x|!!bool x|!!binary x|!!timestamp x|!!set {a}|!!omap [a: 1]
!!python/object:a.b {}|!x y|&a [*a]|*a|!!null x|<<: 1|"\\ud800"|"/\\0.yaml"|"\\0.json"|[1, 1]
[nan]|'\\0'|[.nan, .nan]|[true, 1]|[large, tiny]|? [a]|- 1|"unclosed|@|100000000000000000000
340282366920938463463374607431768211456""".replace("\n", "|").split("|")
ODD += ["9" * 400, "9" * 5000, "-" + "9" * 400, "[" * 2000, "a" * 5000]


def read_or_refused(read):
    """What a reader gives; None where it refuses, in one line."""
    try:
        return read()
    except InputError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    return None


def damaged(text, rng):
    """The text of a YAML file with some values, keys or lines changed."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 2)):
        i = rng.randrange(len(lines))
        line, odd = lines[i], rng.choice(ODD)
        action = rng.randrange(8)
        if action == 0:
            del lines[i]
        elif action == 1:
            lines.insert(i, line)
        elif action == 2:
            lines[i] = re.sub(r"\w+(?=:)", lambda _, odd=odd: odd, line, count=1)
        else:
            values = list(re.finditer(r"(?<=: )[^,{}\[\]#]+|(?<=[\[,] )[^,{}\[\]#]+", line))
            if values:
                found = rng.choice(values)
                lines[i] = line[: found.start()] + odd + line[found.end() :]
        if not lines:
            break
    return "\n".join(lines) + "\n"


def read_machine(path):
    machine = load_machine(str(path))
    machine.prices(load_costs("paper"))
    return machine


def evaluated(path):
    """A sweep's front, of a small one."""
    sweep = read_sweep(path, find_model=find_model)
    if sweep.combinations < 20:
        row = Evaluator(sweep).row
        for point in sweep.points():
            row(point)
    return sweep


TRACE = """\
name: t
phase: decode
tokens: 1
layers:
  - {name: a, m: 1, k: 2, n: 3, weight: fp16, act: fp16}
  - {name: b, m: 1, k: 8, n: 4, count: 3, weight: ternary, act: int8}
"""
SWEEP = """\
parameters:
  model: [700m]
  weight: [ternary, fp16]
  rows: [1, 2]
  cols: 16
  dram_bytes_per_s: [2.0e+10]
  sram_bytes: 2.0e+6
objectives: [energy_j, area_mm2]
"""
SEEDS = {
    "costs": (lambda path: load_costs(str(path)), sorted(DATA.glob("costs_*.yaml"))),
    "hardware": (read_machine, sorted((DATA / "hardware").glob("*.yaml"))),
    "sweep": (evaluated, [ROOT / "examples/sweep_random.yaml", SWEEP]),
    "trace": (read_trace, [TRACE]),
}


@pytest.mark.parametrize("kind", SEEDS)
def test_damaged_yaml_is_read_or_refused_in_one_line(kind, tmp_path):
    read, seeds = SEEDS[kind]
    texts = [seed if isinstance(seed, str) else seed.read_text() for seed in seeds]
    outcomes = set()

    @settings(max_examples=300, database=None)
    @given(seed=st.integers(0, 1 << 32))
    def holds(seed):
        rng = random.Random(seed)
        path = tmp_path / "x.yaml"
        path.write_text(damaged(rng.choice(texts), rng), encoding="utf-8")
        outcomes.add(read_or_refused(functools.partial(read, path)) is None)

    holds()
    assert outcomes == {True, False}


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize("odd", ODD, ids=lambda text: ascii(text)[:20])
def test_odd_yaml_is_refused_in_one_line(kind, odd, tmp_path):
    read, _ = SEEDS[kind]
    path = tmp_path / "x.yaml"
    for text in (odd, f"name: {odd}", f"parameters: {odd}", f"{odd}: 1", f"array: {odd}"):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"\A[^\n]+\Z"):
            read(path)


def test_yaml_that_repeats_itself_a_billion_times_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    lines = ["a: &a0 [x, x]", *(f"b{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"\A[^\n]+\Z"):
        load_costs(str(path))


CONFIG = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 100,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "sliding_window": 16,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "quantization_config": {"quant_method": "bitnet"},
}
JSON_ODD = [json.dumps(value) for value in (None, True, False, 0, -1, 1, 3, 0.5, "", "a", "silu")]
JSON_ODD += ["[]", "{}", "[1]", '{"a": 1}', "NaN", "Infinity", "1e999", "9" * 400, "9" * 5000]
JSON_ODD += ['"\\ud800"', '"a\\nb"', "100000000000000000000", "-1e-300", "[" * 5000]


@settings(max_examples=600)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    keys=st.lists(st.sampled_from([*CONFIG, "model_type", "rope_scaling"]), max_size=2),
    odd=st.sampled_from(JSON_ODD),
    drop=st.booleans(),
)
def test_config_of_odd_values_is_read_or_refused_in_one_line(
    tmp_path_factory, family, keys, odd, drop
):
    content = {key: json.dumps(value) for key, value in CONFIG.items()}
    content["model_type"] = json.dumps(family)
    for key in keys:
        content[key] = odd
        if drop:
            del content[key]
            break
    path = tmp_path_factory.getbasetemp() / "odd.json"
    path.write_text("{" + ", ".join(f'"{k}": {v}' for k, v in content.items()) + "}")
    shape = read_or_refused(functools.partial(read_config, path))
    if not keys and shape is not None:
        assert (shape.hidden, shape.layers) == (64, 4)


@settings(max_examples=300)
@given(
    rows=st.lists(
        st.lists(
            st.sampled_from(["a", "b*3", "a*0", "1", "2", "0", "-1", "", "1.5", "1e3", "٣", "1:1"])
            | st.sampled_from(["9" * 30, "9" * 5000, "nan", '"', "\0", "M", "x" * 3000]),
            max_size=6,
        ),
        max_size=4,
    ),
    header=st.sampled_from(["Layer, M, N, K,", "Layer, M, N, K", "layer,m,n,k,", "Layer, M", ""]),
)
def test_csv_of_odd_cells_is_read_or_refused_in_one_line(tmp_path_factory, rows, header):
    path = tmp_path_factory.getbasetemp() / "odd.csv"
    path.write_text("\n".join([header, *(", ".join(row) for row in rows)]), encoding="utf-8")
    trace = read_or_refused(functools.partial(read_scalesim, path, weight="ternary"))
    if trace is not None:
        assert len(trace.layers) == sum(any(cell.strip() for cell in row) for row in rows)


def test_seeds_are_sound(tmp_path):
    for read, seeds in SEEDS.values():
        for seed in seeds:
            path = tmp_path / "x.yaml"
            path.write_text(seed if isinstance(seed, str) else seed.read_text())
            assert read(path) is not None
            assert isinstance(yaml.safe_load(path.read_text()), dict)


@pytest.mark.parametrize("odd", JSON_ODD, ids=lambda text: ascii(text)[:20])
def test_odd_counts_are_priced_or_refused_in_one_line(odd, tmp_path, capsys):
    path = tmp_path / "counts.json"
    for text in (odd, f'{{"add_int8": {odd}}}', f'{{"add_int8": 1, "add_int8": {odd}}}'):
        path.write_text(text)
        status, err = PROGRAM.main(["counts", str(path)]), capsys.readouterr().err
        assert status in (0, 2)
        assert len(err.splitlines()) == status // 2
