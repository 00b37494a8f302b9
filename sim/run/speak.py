"""A language model generates text with every ternary product computed by the RTL.

The golden decoder (`sim.golden.decoder`) does what is between the products: norms, attention,
activation, quantisation, head. A second one, with golden products, runs beside it, and every token
must be the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritloom.arch.config import ArrayConfig
from tritloom.arch.counts import Counts, array_counts
from tritloom.arch.driver import Job
from tritloom.arch.errors import InputError, MismatchError, require_int
from tritloom.console.progress import bar
from tritloom.sim.checkpoints import folder as folders
from tritloom.sim.checkpoints.folder import ModelFolder
from tritloom.sim.energy import find_costs, show_energy
from tritloom.sim.golden.decoder import Decoder, generate, golden_product
from tritloom.sim.golden.decoder_shape import DecoderShape

from .core import SimulatedCore
from .layer import run_checked
from .totals import RunTotals, core_lines, run_totals, show_lines, show_totals


class RtlProduct:
    """Products of a `Decoder` on a simulated core, each one checked by `layer.run_checked`.

    Parameters
    ----------
    core : SimulatedCore
    folder : ModelFolder
    trits : mapping of str to ndarray of int8, shape (n, k)
        Trits of each matrix of the folder.

    Attributes
    ----------
    by_kind : dict of str to RunTotals
        What the products since the last `clear` took, by kind of matrix (`attn.q`).
    counts : Counts
        Actions of the same products. Each run's counters were found equal to what
        `arch.counts` says of it.
    """

    def __init__(self, core: SimulatedCore, folder: ModelFolder, trits: Mapping[str, np.ndarray]):
        self._core, self._folder, self._trits = core, folder, trits
        packed = folder.plan_config
        same = [
            getattr(packed, side) == getattr(core.config, side)
            for side in ("rows", "cols", "lanes", "dataflow")
        ]
        # The folder's own bytes where they are for this array.
        self._beats = {
            name: folder.beats(name) if all(same) else self._job(name, 1).weights(trits)
            for name, trits in self._trits.items()
        }
        self.clear()

    def clear(self) -> None:
        """Begin to count anew."""
        self.by_kind: dict[str, RunTotals] = {}
        self.counts = Counts()

    def _job(self, name: str, tokens: int) -> Job:
        n, k = self._trits[name].shape
        return folders.job(self._core.config, self._folder.packing, k, n, tokens=tokens)

    def __call__(self, name: str, acts: np.ndarray) -> np.ndarray:
        """Psums, int64 of shape (m, n), of acts (int8, shape (m, k)) and the named matrix."""
        job = self._job(name, len(acts))
        run = run_checked(self._core, job, acts, self._trits[name], weights=self._beats[name])
        kind = name.split(".", 2)[-1]
        self.by_kind[kind] = self.by_kind.get(kind, RunTotals()) + run_totals(job, run)
        self.counts = self.counts + array_counts(job.plan, bits_per_trit=job.packing.bits_per_trit)
        return run.psums


@dataclass(frozen=True, kw_only=True)
class Speech:
    """What was generated, and what it took.

    Attributes
    ----------
    text : str
        Without the prompt.
    steps : int
        Tokens that a pass of their own generated: all but the first, which the prompt's pass gives.
    prompt, decode : dict of str to RunTotals
        By kind of matrix, of the prompt's pass and of the steps together.
    counts : Counts
        Actions of the steps together.
    wall_s : float
        Of prompt and steps, MEASURED.
    """

    text: str
    steps: int
    prompt: dict[str, RunTotals]
    decode: dict[str, RunTotals]
    counts: Counts
    wall_s: float


def speak(
    folder: ModelFolder,
    config: ArrayConfig,
    prompt: str,
    count: int,
    *,
    temperature: float = 0,
    seed: int = 0,
    builds: Path | None = None,
) -> Speech:
    """Generate `count` tokens, at least 2, after the prompt.

    Builds are kept in `builds`, by default in `verilator.builds_folder`.

    Raises
    ------
    InputError
        The folder is no whole model, the prompt is empty, too long or has a character that the
        vocabulary lacks, or `config` cannot run it.
    MismatchError
        A psum, a counter or a cycle count differs from what it must be (`layer.run_checked`), or a
        token from the golden decoder's.
    """
    require_int("tokens", count, low=2)
    if folder.config is None or folder.vocabulary is None:
        missing = "config.json" if folder.config is None else "vocabulary.json"
        raise InputError(
            f"{folder.path} has no {missing}: it holds matrices, not a model that speaks"
        )
    shape = DecoderShape.from_config(folder.config)
    ids = encode(prompt, folder.vocabulary)
    for name, wanted in shape.matrices().items():
        entry = folder.manifest["matrices"].get(name)
        if entry is None or (entry["k"], entry["n"]) != wanted:
            raise InputError(f"{folder.path} has no matrix {name} of k, n = {wanted}")
    parts = {
        "scales": {name: folder.scale(name) for name in folder.matrices},
        "floats": folder.floats,
    }

    def generated(product):
        decoder = Decoder(shape, product=product, **parts)
        return generate(decoder, ids, count, temperature=temperature, seed=seed)

    # What is wrong with the options is told before the core is compiled.
    trits = {name: folder.trits(name) for name in folder.matrices}
    golden = generated(golden_product(trits))
    for k, n in shape.matrices().values():
        folders.job(config, folder.packing, k, n, tokens=len(ids))
    with SimulatedCore(config, builds) as core, bar("speaking", count, "tokens") as progress:
        product = RtlProduct(core, folder, trits)
        spoken = generated(product)
        start, tokens, prompt_pass = time.perf_counter(), [], {}
        for index, (token, wanted) in enumerate(zip(spoken, golden, strict=True)):
            if token != wanted:
                raise MismatchError(f"token {index} is {token}, and {wanted} of the golden decoder")
            tokens.append(token)
            if not index:
                prompt_pass = product.by_kind
                product.clear()
            progress()
    return Speech(
        text="".join(folder.vocabulary[token] for token in tokens),
        steps=count - 1,
        prompt=prompt_pass,
        decode=product.by_kind,
        counts=product.counts,
        wall_s=time.perf_counter() - start,
    )


def encode(text: str, vocabulary: list[str]) -> list[int]:
    """Token ids of a text, one a character."""
    if not text:
        raise InputError("the prompt must have at least one character")
    ids = {character: token for token, character in enumerate(vocabulary)}
    for character in text:
        if character not in ids:
            raise InputError(f"the prompt has {character!r}, which is not in the vocabulary")
    return [ids[character] for character in text]


def show_speech(
    path: Path,
    config: ArrayConfig,
    prompt: str,
    count: int,
    *,
    costs: str,
    **options,
) -> None:
    """Let the model of a folder speak, and print the text and what it took.

    Parameters
    ----------
    costs : str
        Cost table of the joules.
    **options
        Options of `speak`.
    """
    table = find_costs(costs)
    folder = folders.open_folder(path)
    speech = speak(folder, config, prompt, count, **options)
    print(prompt + speech.text + "\n")
    decode, first = (sum(part.values(), RunTotals()) for part in (speech.decode, speech.prompt))
    both, steps, clock = decode + first, speech.steps, config.clock_hz
    trits = sum(entry["k"] * entry["n"] for entry in folder.manifest["matrices"].values())
    show_lines(
        [
            ("model", f"{path}, {trits:,} trits in {len(folder.matrices)} matrices"),
            *core_lines(config),
            (
                "tokens",
                f"{len(prompt)} of the prompt in one pass, {count} generated, each equal "
                "to the golden decoder's",
            ),
            (
                "products",
                f"{both.runs:,} through the RTL, {both.psums:,} psums equal to "
                "the golden model and to a plain product",
            ),
            ("prompt", f"{first.cycles:,} cycles from the RTL, {first.formula:,} by the formula"),
        ]
    )
    print(f"\n{steps} tokens, one at a time:")
    show_totals(speech.decode)
    show_lines(
        [
            (
                "time",
                f"{decode.cycles / steps:,.0f} cycles a token, "
                f"{steps * clock / decode.cycles:,.0f} tokens a second at {clock / 1e6:g} MHz  "
                "DERIVED (cycles x clock; products alone)",
            ),
            (
                "simulation",
                f"{speech.wall_s / count:.2f} s a token, checks included, "
                f"{both.cycles / both.seconds:,.0f} cycles/s  MEASURED",
            ),
        ]
    )
    # Every step runs the same products, so this divides.
    counts = Counts(**{action: total // steps for action, total in speech.counts.items()})
    show_energy("a token (products alone)", counts, table)
