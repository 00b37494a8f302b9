"""Model folders, and the command that writes them."""

import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tritloom.arch import layout
from tritloom.arch.config import PRESETS, preset
from tritloom.arch.errors import InputError
from tritloom.arch.ternary import PACKINGS
from tritloom.sim.__main__ import PROGRAM
from tritloom.sim.checkpoints.folder import open_folder
from tritloom.sim.checkpoints.importer import trace_yaml
from tritloom.sim.checkpoints.read import open_checkpoint
from tritloom.sim.checkpoints.tensors import Checkpoint, FloatTensor, TernaryMatrix
from tritloom.sim.checkpoints.write import write_folder
from tritloom.sim.golden.quantise import Quantised


def rejects_in_one_line(*parts):
    pattern = ".*".join(map(re.escape, parts))
    return pytest.raises(InputError, match=f"\\A[^\n]*{pattern}[^\n]*\\Z")


def contents(folder):
    """Bytes of every file, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def source(tmp_path, tiny):
    return tiny.write_hf(tmp_path / "source")


@pytest.fixture(scope="module")
def imported_once(tmp_path_factory, bitnet_class):
    folder = tmp_path_factory.mktemp("imported")
    source = bitnet_class().write_hf(folder / "source")
    assert PROGRAM.main(["import", str(source), "-o", str(folder / "out")]) == 0
    return folder / "out"


@pytest.fixture
def imported(tmp_path, imported_once):
    """The folder that `source` becomes."""
    return shutil.copytree(imported_once, tmp_path / "out")


def write(checkpoint, target, *, config="decode", packing="trit5", **options):
    config = preset(config) if isinstance(config, str) else config
    return write_folder(
        checkpoint, target, config=config, packing=PACKINGS[packing], trace="", **options
    )


# What is written is what was read.


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("dataflow", ["output-stationary", "weight-stationary"])
@pytest.mark.parametrize("name", ["tiny", "decode", "base"])
def test_folder_gives_back_trits_scales_and_floats(tmp_path, source, tiny, name, dataflow, packing):
    config = preset(name).replace(dataflow=dataflow)
    write(open_checkpoint(source), tmp_path / "out", config=config, packing=packing)
    folder = open_folder(tmp_path / "out")
    assert folder.matrices == sorted(tiny.trits)
    assert folder.config == tiny.config
    assert folder.vocabulary is None
    assert folder.plan_config.shape == config.shape
    assert folder.plan_config.dataflow == dataflow
    for matrix, trits in tiny.trits.items():
        assert np.array_equal(folder.trits(matrix), trits)
        assert folder.trits(matrix).dtype == np.int8
        assert folder.scale(matrix) == tiny.scales[matrix]
        assert folder.manifest["matrices"][matrix]["zero_share"] == (trits == 0).mean()
    assert set(folder.floats) == set(tiny.floats)
    for tensor, values in tiny.floats.items():
        assert folder.floats[tensor].dtype == np.float32
        assert np.array_equal(folder.floats[tensor], values)


@pytest.mark.parametrize("name", PRESETS)
def test_beats_are_those_that_the_driver_sends(tmp_path, source, tiny, name):
    write(open_checkpoint(source), tmp_path / "out", config=name)
    folder = open_folder(tmp_path / "out")
    config = PRESETS[name]
    for matrix, trits in tiny.trits.items():
        beats = folder.beats(matrix)
        assert beats.shape[1] == layout.beat_bytes(config.cols * config.lanes)
        assert np.array_equal(beats, folder.job(matrix).weights(trits))


def test_floats_are_read_by_the_safetensors_library(tmp_path, source, tiny):
    write(open_checkpoint(source), tmp_path / "out")
    stored = load_file(tmp_path / "out" / "floats.safetensors")
    assert {str(array.dtype) for array in stored.values()} == {"bfloat16"}
    assert {name: array.tolist() for name, array in stored.items()} == {
        name: array.tolist() for name, array in tiny.floats.items()
    }


def test_floats_of_several_dtypes_and_chunks_are_aligned(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "b": rng.standard_normal((3, 5)).astype(np.float16),
        "a": rng.standard_normal(7),
        "c": rng.standard_normal((4, 1, 2)).astype(np.float32),
    }
    names = {"float16": "F16", "float32": "F32", "float64": "F64"}
    floats = {
        name: FloatTensor(
            dtype=names[str(array.dtype)],
            shape=array.shape,
            chunks=lambda array=array: iter(np.array_split(array.ravel(), 3)),
        )
        for name, array in arrays.items()
    }
    checkpoint = one_matrix(np.eye(4, dtype=np.int8), tmp_path, floats=floats)
    write(checkpoint, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "floats.safetensors")
    assert {name: array.dtype for name, array in stored.items()} == {
        name: array.dtype for name, array in arrays.items()
    }
    assert all(np.array_equal(stored[name], arrays[name]) for name in arrays)


def one_matrix(trits, folder, *, scale=1.0, floats=None):
    path = folder / "w.bin"
    path.write_bytes(b"w")
    quantised = Quantised(values=trits, scale=np.asarray(np.float32(scale)))
    n, k = trits.shape
    matrix = TernaryMatrix(tensor="w", n=n, k=k, read=lambda: quantised)
    return Checkpoint(path=path, files=(path,), matrices={"w": matrix}, floats=floats or {})


def test_matrices_come_in_the_order_of_their_layers(tmp_path):
    checkpoint = one_matrix(np.eye(4, dtype=np.int8), tmp_path)
    names = ["layers.0.x", "layers.2.x", "layers.10.x", "other"]
    matrices = dict.fromkeys(names, checkpoint.matrices["w"])
    write(dataclasses.replace(checkpoint, matrices=matrices), tmp_path / "out")
    assert open_folder(tmp_path / "out").matrices == names


@pytest.mark.parametrize("scale", [0.1, 1e-30, 3.4028235e38, 1 / 3, 0.0])
def test_scale_in_the_manifest_is_the_shortest_of_its_float32(tmp_path, scale):
    write(one_matrix(np.eye(4, dtype=np.int8), tmp_path, scale=scale), tmp_path / "out")
    folder = open_folder(tmp_path / "out")
    assert folder.scale("w") == np.float32(scale)
    assert repr(np.float32(scale)) == f"np.float32({folder.manifest['matrices']['w']['scale']!r})"


def test_matrix_longer_than_the_presets_max_k_is_packed(tmp_path):
    trits = np.random.default_rng(0).integers(-1, 2, (3, 40_000), np.int8)
    write(one_matrix(trits, tmp_path), tmp_path / "out")
    assert np.array_equal(open_folder(tmp_path / "out").trits("w"), trits)


def test_hex_has_the_beats_of_bin(tmp_path, source):
    write(open_checkpoint(source), tmp_path / "out", with_hex=True)
    folder = open_folder(tmp_path / "out")
    for name in folder.matrices:
        lines = (tmp_path / "out" / "weights" / f"{name}.hex").read_text().splitlines()
        words = [int(line, 16) for line in lines]
        width = folder.beats(name).shape[1]
        assert {len(line) for line in lines} == {2 * width}
        assert [word.to_bytes(width, "little") for word in words] == [
            beat.tobytes() for beat in folder.beats(name)
        ]


def test_importing_twice_gives_the_same_bytes(tmp_path, source):
    for out in ("a", "b"):
        assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / out), "--hex"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / "a"), "--hex"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    text = "".join(map(str, contents(tmp_path / "a").values()))
    assert str(tmp_path) not in text


def test_manifest_names_the_source_as_sha256sum_does(tmp_path, imported, source):
    lines = [
        f"{hashlib.sha256((source / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("config.json", "model.safetensors")
    ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert open_folder(imported).manifest["source"] == {"file": "source", "sha256": digest}


def test_importing_takes_less_memory_than_the_file(tmp_path, bitnet_class):
    model = bitnet_class(hidden=1024, ffn=2048, heads=4, kv_heads=2, vocab=20_000)
    source = model.write_hf(tmp_path / "source")
    del model
    size = (source / "model.safetensors").stat().st_size
    assert size > 40e6
    tracemalloc.start()
    write(open_checkpoint(source), tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.7 * size


def test_vocabulary_is_carried_over(tmp_path, source):
    (source / "vocabulary.json").write_text(json.dumps(list("ab\ncé")))
    write(open_checkpoint(source), tmp_path / "out")
    assert open_folder(tmp_path / "out").vocabulary == list("ab\ncé")


# The command.


def test_command_prints_a_summary_and_nothing_else(tmp_path, source, tiny, capfd):
    assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / "out")]) == 0
    captured = capfd.readouterr()
    trits = sum(array.size for array in tiny.trits.values())
    packed = sum(path.stat().st_size for path in (tmp_path / "out" / "weights").iterdir())
    zeros = sum((array == 0).sum() for array in tiny.trits.values()) / trits
    assert captured.err == ""
    assert captured.out.splitlines()[1:3] == [
        f"matrices  14, {trits:,} trits, {zeros:.1%} of them zero",
        f"weights   {packed:,} bytes, trit5, {8 * packed / trits:.4f} bit a trit, "
        "for 1x16x16 output-stationary",
    ]


def ledger(trace):
    command = [sys.executable, "-m", "energy_model", "ledger", str(trace), "--format", "json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_energy_model_prices_the_trace_of_a_model(imported, source):
    assert "lm_head" in (imported / "trace.yaml").read_text()
    assert ledger(imported / "trace.yaml")
    command = [sys.executable, "-m", "energy_model", "trace", "--model", str(source)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (imported / "trace.yaml").read_text() == told


def test_energy_model_prices_the_trace_of_a_matrix(tmp_path):
    source = tmp_path / "w: \N{GRINNING FACE} #1.safetensors"
    save_file({"a: b #c": np.ones((8, 12), np.float32)}, source)
    assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / "out")]) == 0
    assert ledger(tmp_path / "out" / "trace.yaml")["name"] == "w: \N{GRINNING FACE} #1"
    assert not (tmp_path / "out" / "config.json").exists()
    assert not (tmp_path / "out" / "floats.safetensors").exists()
    assert open_folder(tmp_path / "out").floats == {}
    (layer,) = [
        line for line in (tmp_path / "out" / "trace.yaml").read_text().splitlines() if "{" in line
    ]
    assert json.loads(layer.removeprefix("  - ")) == {
        "name": "a__b__c",
        "m": 1,
        "k": 12,
        "n": 8,
        "count": 1,
        "weight": "ternary",
        "act": "int8",
    }


def test_trace_of_a_folder_has_its_whole_name(tmp_path, tiny):
    source = tiny.write_hf(tmp_path / "bitnet-b1.58-2B")
    assert "name: bitnet-b1.58-2B\n" in trace_yaml(open_checkpoint(source))


def test_source_whose_name_would_spoil_a_listing_is_refused(tmp_path, tiny, capsys):
    source = tiny.write_hf(tmp_path / "a\nb")
    assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / "out")]) == 2
    assert re.fullmatch(
        "python -m sim import: error: 'a\\\\nb' is no name[^\n]*\n", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "none"], "unknown preset"),
        (["--packing", "trit3"], "unknown packing"),
        (["--dataflow", "none"], "dataflow must be"),
        (["--preset", "asic", "--dataflow", "weight-stationary"], "technology asic"),
        (["--tensor", "none"], "has no ternary matrix 'none'"),
    ],
)
def test_wrong_arguments_get_one_line_and_status_2(tmp_path, source, capsys, arguments, message):
    assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / "out"), *arguments]) == 2
    captured = capsys.readouterr()
    assert re.fullmatch(f"python -m sim import: error: [^\n]*{message}[^\n]*\n", captured.err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize("damage", ["code", "scale", "float", "range"])
def test_damage_found_late_leaves_nothing_behind(tmp_path, tiny, capsys, damage):
    tensors = tiny.hf_tensors()
    if damage == "code":
        tensors["model.layers.1.mlp.down_proj.weight"][1, 1] = 255
    elif damage == "scale":
        tensors["model.layers.1.mlp.down_proj.weight_scale"][0] = np.nan
    elif damage == "float":
        tensors["model.norm.weight"][2] = np.inf
    else:
        tensors["model.norm.weight"] = np.full(8, 1e300)
    source = tiny.write_hf(tmp_path / "source", tensors)
    assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / "deep" / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list((tmp_path / "deep").iterdir()) == []


def test_damaged_source_leaves_the_older_folder_alone(tmp_path, imported, source):
    before = contents(imported)
    (source / "model.safetensors").write_bytes(b"")
    assert PROGRAM.main(["import", str(source), "-o", str(imported)]) == 2
    assert contents(imported) == before


@pytest.mark.parametrize("odd", ["notes.txt", "weights/notes.txt"])
def test_folder_with_files_of_others_is_not_replaced(imported, source, capsys, odd):
    (imported / odd).write_text("mine")
    assert PROGRAM.main(["import", str(source), "-o", str(imported)]) == 2
    assert re.fullmatch("python -m sim import: error: [^\n]*\n", capsys.readouterr().err)
    assert (imported / odd).read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "folder", "source", "parent"])
def test_what_is_no_model_folder_is_not_replaced(tmp_path, source, capsys, kind):
    target = {"source": source, "parent": tmp_path}.get(kind, tmp_path / "out")
    if kind == "file":
        target.write_text("mine")
    elif kind == "folder":
        target.mkdir()
        (target / "manifest.json").write_text("{}")
    before = contents(tmp_path)
    assert PROGRAM.main(["import", str(source), "-o", str(target)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert contents(tmp_path) == before


def test_full_disk_is_found_before_writing(tmp_path, source, capsys, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert PROGRAM.main(["import", str(source), "-o", str(tmp_path / "out")]) == 2
    assert re.fullmatch(
        "python -m sim import: error: [^\n]* but its disk has 100\n", capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


# Folders that are damaged.


def test_folder_without_a_manifest_is_none(tmp_path):
    with rejects_in_one_line("is no model folder: it has no manifest.json"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "x", "format must be 'tritloom-model'"),
        (["version"], 2, "version must be 1"),
        (["packing"], "base3", "packing must be one of"),
        (["packing"], [], "packing must be one of"),
        (["array"], None, "array must be an object"),
        (["array", "rows"], 0, "rows must be at least 1"),
        (["array", "rows"], "1", "rows must be an integer"),
        (["array", "dataflow"], "x", "dataflow must be"),
        (["array", "extra"], 1, "array must have"),
        (["matrices"], {}, "must not be empty"),
        (["matrices"], [], "must be an object"),
        (["matrices", "../x"], {}, "no matrix can be named"),
        (["matrices", "layers.0.attn.q"], 7, "must be an object"),
        (["matrices", "layers.0.attn.q", "k"], 1 << 40, "k must be at most"),
        (["matrices", "layers.0.attn.q", "k"], 800, "bytes must be"),
        (["matrices", "layers.0.attn.q", "scale"], "1", "scale must be a number"),
        (["matrices", "layers.0.attn.q", "bytes"], 1, "bytes must be"),
        (["matrices", "layers.0.attn.q", "sha256"], "../x", "sha256 must be"),
        (["floats"], 1, "floats must be an object"),
        (["floats", "bytes"], -1, "bytes must be at least"),
    ],
    ids=str,
)
def test_damaged_manifest_is_refused(imported, path, value, message):
    manifest = json.loads((imported / "manifest.json").read_text())
    entry = manifest
    for key in path[:-1]:
        entry = entry[key]
    entry[path[-1]] = value
    (imported / "manifest.json").write_text(json.dumps(manifest))
    with rejects_in_one_line("manifest.json", message):
        open_folder(imported)


@pytest.mark.parametrize("seed", range(20))
def test_manifest_with_flipped_bits_opens_or_gets_one_line(imported, seed):
    content = bytearray((imported / "manifest.json").read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(content), 1 + seed % 3):
        content[place] ^= 1 << rng.integers(8)
    (imported / "manifest.json").write_bytes(content)
    message = ""
    try:
        folder = open_folder(imported)
        for name in folder.matrices:
            folder.trits(name)
        dict(folder.floats)
    except InputError as error:
        message = str(error)
    assert "\n" not in message


@pytest.mark.parametrize("change", ["flip", "cut", "longer", "gone"])
@pytest.mark.parametrize("file", ["weights/layers.1.ffn.up.bin", "floats.safetensors"])
def test_damaged_file_is_found_when_it_is_read(imported, file, change):
    path = imported / file
    content = bytearray(path.read_bytes())
    if change == "flip":
        content[-1] ^= 1
    path.write_bytes({"cut": content[:-1], "longer": content + b"\0"}.get(change, content))
    if change == "gone":
        path.unlink()
    folder = open_folder(imported)
    assert folder.trits("layers.0.ffn.up").any()
    with rejects_in_one_line(file):
        folder.trits("layers.1.ffn.up") if "weights" in file else dict(folder.floats)


@pytest.mark.parametrize("file", ["config.json", "vocabulary.json"])
@pytest.mark.parametrize("content", ["", "3", "[" * 100_000])
def test_damaged_description_is_refused(imported, file, content):
    (imported / file).write_text(content)
    with rejects_in_one_line(file):
        open_folder(imported)


def test_unknown_names_are_named(imported):
    folder = open_folder(imported)
    with rejects_in_one_line("has no matrix 'x'"):
        folder.trits("x")
    with pytest.raises(KeyError):
        folder.floats["x"]
