"""Fuzzes the readers of model files: `make fuzz`.

A case is the files of one reader, each with its length in front. Cases begin as small valid files
that the project and the libraries write; `mutated` changes one of them as its format has it, or
byte by byte. `tests/tools/test_fuzz.py` runs the same targets on fewer cases without atheris, which
has wheels for some Pythons only.

    python -m tests.tools.fuzz_readers [--seconds 600]    every reader in turn, each in a process
    python -m tests.tools.fuzz_readers READER [LIBFUZZER OPTIONS] [CASES]
"""

import argparse
import contextlib
import hashlib
import io
import json
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

SCRATCH = Path("build/fuzz")
# A reader that takes longer, or more memory, for files of some kilobytes is wrong.
HANG_S, MOST_MIB = 5, 1024
# The files of each reader; the first is a placeholder for matrices of one file.
FILES = {
    "npy": ("w.npy",),
    "safetensors": ("w.safetensors",),
    "gguf": ("w.gguf",),
    "checkpoint": ("config.json", "model.safetensors", "vocabulary.json"),
    "folder": ("manifest.json", "config.json", "floats.safetensors", "weights/matrix.bin"),
}
ODD = (None, True, -1, 0, 1, 3, 4, 255, 1 << 31, (1 << 63) - 1, 1 << 64, 10**400, 0.5, -0.0, 1e38)
ODD += (1e300, "", "a", "\0", "\ud800", "é\n", "F16", "I8", "U8", "BF16", "ternary", [], [[]], {})


def pack(files):
    """A case of the bytes of its files."""
    return b"".join(struct.pack("<I", len(content)) + content for content in files)


def unpack(case, count):
    """Bytes of `count` files, whatever the case is."""
    files = []
    for _ in range(count):
        size = int.from_bytes(case[:4], "little")
        files.append(case[4 : 4 + size])
        case = case[4 + size :]
    return files


def seeds(bitnet_class):
    """Valid cases of every reader.

    Parameters
    ----------
    bitnet_class
        `TinyBitnet` of conftest.py.

    Returns
    -------
    dict of str to list of bytes
    """
    import gguf
    import ml_dtypes
    import numpy as np
    from safetensors.numpy import save

    from tritloom.arch.config import preset
    from tritloom.arch.ternary import PACKINGS
    from tritloom.sim.checkpoints.read import open_checkpoint
    from tritloom.sim.checkpoints.write import write_folder

    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, 256)).astype(np.float32)
    trits = rng.integers(-1, 2, (4, 256), np.int8)
    found = {name: [] for name in FILES}
    for array in (weights[:, :6], trits[:, :6].T, weights[:2, :3].astype(np.float16)):
        file = io.BytesIO()
        np.save(file, array)
        found["npy"].append([file.getvalue()])
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16, np.int8):
        array = trits[:, :6] if dtype == np.int8 else weights[:, :6]
        found["safetensors"].append([save({"w": array.astype(dtype), "v": weights[0, :3]})])

    def gguf_file(architecture, tensors, metadata=(), kind=None):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "w.gguf")
            writer = gguf.GGUFWriter(path, architecture)
            writer.add_array("tokenizer.ggml.tokens", ["a", "bc", ""])
            for key, value in metadata:
                add = {int: writer.add_uint32, float: writer.add_float32}[type(value)]
                add(f"{architecture}.{key}", value)
            for name, array in tensors.items():
                writer.add_tensor(name, array, raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            return path.read_bytes()

    kinds = gguf.GGMLQuantizationType
    for kind in (kinds.TQ1_0, kinds.TQ2_0, kinds.Q8_0):
        array = gguf.quants.quantize(trits * np.float32(0.5), kind)
        found["gguf"].append([gguf_file("llama", {"w": array}, kind=kind)])
    # The library does not know I2_S: a float32 matrix is large enough to be taken as one.
    plain = gguf_file("llama", {"w": np.zeros((4, 128), np.float32)})
    at = plain.index(struct.pack("<QQI", 128, 4, 0)) + 16
    found["gguf"] += [[plain], [plain[:at] + struct.pack("<I", 36) + plain[at + 4 :]]]
    model = bitnet_class()
    c = model.config
    metadata = {
        "embedding_length": c["hidden_size"],
        "feed_forward_length": c["intermediate_size"],
        "block_count": c["num_hidden_layers"],
        "attention.head_count": c["num_attention_heads"],
        "attention.head_count_kv": c["num_key_value_heads"],
        "context_length": 64,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 1e4,
    }
    tensors = {
        "token_embd.weight": model.floats["model.embed_tokens.weight"],
        "output_norm.weight": model.floats["model.norm.weight"],
    }
    for i in range(model.LAYERS):
        for name, _, known, *_ in model.LINEARS:
            key = f"layers.{i}.{name}"
            tensors[f"blk.{i}.{known}.weight"] = model.trits[key] * model.scales[key]
        for name, known, _ in model.NORMS:
            tensors[f"blk.{i}.{known}.weight"] = model.floats[f"model.layers.{i}.{name}.weight"]
    found["gguf"].append([gguf_file("bitnet", tensors, metadata.items())])

    vocabulary = json.dumps(list("abcde")).encode()
    online = {
        name: rng.standard_normal((len(t) * 4, t.shape[1])).astype(ml_dtypes.bfloat16)
        if t.dtype == np.uint8
        else t
        for name, t in model.hf_tensors().items()
        if not name.endswith("weight_scale")
    }
    for parts in (model.hf_tensors(), online):
        found["checkpoint"].append([json.dumps(c).encode(), save(parts), vocabulary])

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "matrix.safetensors")
        source.write_bytes(save({"matrix": weights[:, :6]}))
        checkpoint = open_checkpoint(source)
        whole = open_checkpoint(model.write_hf(Path(scratch, "m")))
        object.__setattr__(checkpoint, "floats", whole.floats)
        object.__setattr__(checkpoint, "config", whole.config)
        for dataflow in ("output-stationary", "weight-stationary"):
            for packing in PACKINGS.values():
                target = Path(scratch, f"{dataflow}-{packing.name}")
                config = preset("tiny").replace(dataflow=dataflow)
                write_folder(checkpoint, target, config=config, packing=packing, trace="")
                found["folder"].append([(target / name).read_bytes() for name in FILES["folder"]])
    return {name: [pack(files) for files in cases] for name, cases in found.items()}


def run(reader, case, folder):
    """Read a case as `python -m sim import` and `open_folder` do; True where it is sound.

    Whatever else than `InputError` comes out is a finding.
    """
    import numpy as np

    from tritloom.arch.config import preset
    from tritloom.arch.errors import InputError
    from tritloom.arch.ternary import PACKINGS
    from tritloom.sim.checkpoints.folder import open_folder
    from tritloom.sim.checkpoints.read import open_checkpoint
    from tritloom.sim.checkpoints.write import write_folder

    (folder / "weights").mkdir(exist_ok=True)
    for name, content in zip(FILES[reader], unpack(case, len(FILES[reader])), strict=True):
        (folder / name).write_bytes(content)
    try:
        if reader == "folder":
            written = open_folder(folder)
            for name in written.matrices:
                written.trits(name)
                written.scale(name)
            assert all(tensor.dtype == np.float32 for tensor in written.floats.values())
            return True
        source = folder if reader == "checkpoint" else folder / FILES[reader][0]
        checkpoint = open_checkpoint(source)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            target = Path(scratch, "out")
            options = {"config": preset("tiny"), "packing": PACKINGS["trit5"], "trace": ""}
            write_folder(checkpoint, target, **options)
            written = open_folder(target)
            for name, matrix in checkpoint.matrices.items():
                assert np.array_equal(written.trits(name), matrix.read().values)
                assert written.scale(name) == matrix.read().scale
            assert set(written.floats) == set(checkpoint.floats)
        return True
    except InputError as error:
        message = str(error)
        assert message.strip(), "an error without a message"
        assert len(message.splitlines()) == 1, f"an error of several lines: {message!r}"
        assert len(message) < 1000, f"an error of {len(message)} characters"
        return False


# Mutations.


def mutated(reader, case, rng, mutate_bytes=None):
    """A case with one of its files changed.

    Parameters
    ----------
    rng : random.Random
    mutate_bytes : callable, optional
        Changes bytes; libFuzzer's, which knows what has reached new code.
    """
    names = FILES[reader]
    files = unpack(case, len(names))
    i = rng.randrange(len(names))
    name, content = names[i], files[i]
    # A third byte by byte, which also damages the structure itself.
    change = _bytes if rng.random() < 1 / 3 else _CHANGES.get(Path(name).suffix, _bytes)
    try:
        files[i] = change(content, rng, mutate_bytes or _random_bytes)
    except _NOT_SOUND:
        files[i] = _bytes(content, rng, mutate_bytes or _random_bytes)
    if reader == "folder" and i > 1 and rng.random() < 0.9:
        files[0] = _restated(files)
    return pack(files)


def _random_bytes(content, rng):
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        action = rng.randrange(4)
        if action == 0:
            del changed[at:]
        elif action == 1:
            changed[at:at] = rng.randbytes(rng.randint(1, 8))
        elif action == 2:
            del changed[at : at + rng.randint(1, 8)]
        elif at < len(changed):
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _bytes(content, rng, mutate_bytes):
    return mutate_bytes(content, rng)


def _json(content, rng, mutate_bytes):
    """A value replaced or removed, a key renamed or there twice."""
    value = json.loads(content)
    places = [(None, None)]

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if isinstance(value, dict | list):
        walk(value)
    for _ in range(rng.randint(1, 2)):
        node, key = rng.choice(places)
        odd = rng.choice(ODD)
        action = rng.randrange(8)
        if node is None:
            value = odd if action == 0 else value
        elif isinstance(node, dict) and key not in node:
            continue
        elif action == 0:
            del node[key]
            break
        elif action == 1 and isinstance(node, dict):
            node[rng.choice((f"{key}x", "", "../x", "a\nb", "/etc/x"))] = node[key]
        elif action < 4 and isinstance(node[key], int | float):
            node[key] = node[key] + rng.choice((-1, 1)) * rng.choice((1, 2, 8, 0.5))
        else:
            node[key] = odd
    text = json.dumps(value)
    if rng.random() < 0.05:
        text = "[" * 100_000 + text
    if rng.random() < 0.1:
        text = re.sub(
            r": [\d.]+", f": {rng.choice(('NaN', '1e999', '-Infinity', '1' * 5000))}", text
        )
    if rng.random() < 0.05 and isinstance(value, dict) and value:
        text = f"{{{json.dumps(rng.choice(list(value)))}: 1, {text[1:]}"
    return text.encode()


def _safetensors(content, rng, mutate_bytes):
    size = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + size], content[8 + size :]
    if rng.random() < 0.3:
        data = _random_bytes(data, rng)
    else:
        header = _json(header, rng, mutate_bytes)
    return len(header).to_bytes(8, "little") + header + data


def _npy(content, rng, mutate_bytes):
    size = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + size].decode("latin-1")
    if rng.random() < 0.5:
        number = rng.choice(("0", "-1", "3", "1e3", str(1 << 62), "9" * 400, "None", "(1,)"))
        header = re.sub(r"\d+(?=[,)])", number, header, count=rng.randint(1, 2))
    else:
        header = re.sub(r"'[<>|=][^']*'", repr(rng.choice(_NPY_KINDS)), header)
        header = header.replace("False", rng.choice(("False", "True", "2", "[]")))
    header = header.encode("latin-1")
    return content[:8] + struct.pack("<H", len(header)) + header + content[10 + size :]


def _gguf(content, rng, mutate_bytes):
    """One field of the header: a count, a length, a type, a number or a name."""
    spans = _gguf_spans(content)
    start, size = rng.choice(spans)
    if size in (1, 2, 4, 8):
        old = int.from_bytes(content[start : start + size], "little")
        odd = (0, 1, 3, 8, 9, 10, 12, 30, 34, 35, 36, 64, 1 << 16, 1 << 31, 1 << 40, (1 << 63) - 1)
        new = rng.choice((*odd, old + 1, old - 1, old * 2, -1, -old, rng.getrandbits(8 * size)))
        changed = (new % (1 << (8 * size))).to_bytes(size, "little")
    else:
        changed = rng.choice((b"\0" * size, b"\n" * size, b"\xff" * size, rng.randbytes(size)))
    return content[:start] + changed + content[start + size :]


def _gguf_spans(content):
    """(offset, bytes) of each part of a header that begins like a sound one."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    spans, at = [(4, 4), (8, 8), (16, 8)], 24
    tensors, fields = struct.unpack_from("<QQ", content, 8)

    def take(size):
        nonlocal at
        if at + size > len(content) or len(spans) > 2000:
            raise ValueError
        spans.append((at, size))
        at += size
        return int.from_bytes(content[at - size : at], "little")

    def value(kind):
        if kind == 8:
            take(take(8))
        elif kind == 9:
            kind, length = take(4), take(8)
            for _ in range(length):
                value(kind)
        else:
            take(sizes[kind])

    with contextlib.suppress(ValueError, KeyError):
        for _ in range(fields):
            take(take(8))
            value(take(4))
        for _ in range(tensors):
            take(take(8))
            for _ in range(take(4)):
                take(8)
            take(4)
            take(8)
    return spans


def _restated(files):
    """The manifest with the sizes and digests that its files have now."""
    with contextlib.suppress(*_NOT_SOUND):
        manifest = json.loads(files[0])
        entries = [manifest["floats"], *manifest["matrices"].values()]
        for entry, content in zip(entries, files[2:], strict=False):
            entry["bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
        return json.dumps(manifest).encode()
    return files[0]


_NPY_KINDS = ("<f2", "<f4", ">f8", "<i1", "|O", "|V8", "<c8", "<U3", "<M8[s]", "<f16", "|b1", "|S0")
# What is damaged already may not be what a mutation takes apart.
_NOT_SOUND = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_NOT_SOUND += (struct.error,)
_CHANGES = {".json": _json, ".safetensors": _safetensors, ".npy": _npy, ".gguf": _gguf}


# The fuzzer.


def fuzz(reader, arguments):
    """Run libFuzzer on one reader; does not return."""
    import atheris

    with atheris.instrument_imports(include=["arch", "sim", "gguf"]):
        import gguf  # noqa: F401

        import tritloom.sim.checkpoints.folder
        import tritloom.sim.checkpoints.read
        import tritloom.sim.checkpoints.write  # noqa: F401
    # Each is a line on standard error besides the one of the error.
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def mutate(case, most, seed):
            rng = random.Random(seed)
            new = mutated(reader, case, rng, lambda content, _: atheris.Mutate(content, most))
            return new[:most]

        atheris.Setup(
            [sys.argv[0], *arguments],
            lambda case: run(reader, case, folder) and None,
            custom_mutator=mutate,
        )
        atheris.Fuzz()


def fuzz_all(seconds):
    """Every reader in turn; returns the exit status, 1 where there is a finding."""
    from tests.conftest import TinyBitnet

    findings = []
    columns = "{:12} {:>9} {:>7} {:>6} {:>6} {:>8}  {}"
    print(columns.format("reader", "runs", "runs/s", "edges", "cases", "peak MiB", "found"))
    for reader, cases in seeds(TinyBitnet).items():
        folder = SCRATCH / reader
        corpus = folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for i, case in enumerate(cases):
            (corpus / f"seed{i}").write_bytes(case)
        began = {path.name for path in folder.glob("*-*")}
        options = [
            f"-max_total_time={max(1, seconds // len(FILES))}",
            f"-timeout={HANG_S}",
            f"-rss_limit_mb={MOST_MIB}",
            f"-malloc_limit_mb={MOST_MIB}",
            f"-artifact_prefix={folder}/",
            "-max_len=65536",
            "-print_final_stats=1",
        ]
        start = time.monotonic()
        command = [sys.executable, "-m", "tests.tools.fuzz_readers", reader, *options, str(corpus)]
        with (folder / "log").open("w") as log:
            status = subprocess.run(command, stdout=log, stderr=log).returncode
        text = (folder / "log").read_text(errors="replace")
        runs, peak = (
            int((re.findall(rf"stat::{what}: +(\d+)", text) or [0])[-1])
            for what in ("number_of_executed_units", "peak_rss_mb")
        )
        edges, cases = (re.findall(r" cov: (\d+) .*corp: (\d+)", text) or [(0, 0)])[-1]
        new = sorted(str(p) for p in folder.glob("*-*") if p.name not in began)
        if status and not new:
            new = [f"{folder / 'log'} (status {status})"]
        findings += new
        rate = round(runs / (time.monotonic() - start))
        shown = ", ".join(new) or "nothing"
        print(columns.format(reader, f"{runs:,}", rate, edges, cases, peak, shown), flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in FILES:
        fuzz(sys.argv[1], sys.argv[2:])
    options = argparse.ArgumentParser(description="Fuzzes the readers of model files.")
    options.add_argument("--seconds", type=int, default=600, help="of all readers [600]")
    sys.exit(fuzz_all(options.parse_args().seconds))
