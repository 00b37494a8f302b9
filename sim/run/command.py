"""The commands that run the core: `demo`, `layer`, `speak`, `products`, `board` and `soak`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tritloom.arch.board import BOARDS
from tritloom.arch.errors import InputError, require_int
from tritloom.arch.models.known import MODELS, find_model
from tritloom.console.command import Command
from tritloom.sim.options import (
    chosen_packing,
    configuration,
    dataflow_argument,
    jobs_argument,
    packing_argument,
    preset_argument,
    seed_argument,
)

# A small BitNet of our own (examples/train): its folder in a checkout and in an installed package.
EXAMPLE_MODEL = Path("examples/shakespeare/model")
PACKAGED_MODEL = Path("example_model")


def demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `demo`."""
    preset_argument(parser, "base")
    dataflow_argument(parser)
    packing_argument(parser)
    parser.add_argument(
        "--tokens", type=int, metavar="M", help="number of tokens [as many as share the weights]"
    )
    seed_argument(parser, "the acts")


def run_demo(options: argparse.Namespace) -> None:
    """Run a trained layer through the RTL and print what it took."""
    config, packing = _sound(options)
    from tritloom.sim.checkpoints.fetch import DEMO_TENSOR, fetch_demo_model

    # 100 MB to fetch: not before the options are sound.
    _show_layer(options, config, packing, fetch_demo_model(), DEMO_TENSOR)


def layer_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `layer`."""
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="FILE",
        help="file of the matrix, of shape (n, k)",
    )
    parser.add_argument(
        "--tensor", metavar="NAME", help="matrix to take, where the file has several"
    )
    demo_arguments(parser)


def run_layer(options: argparse.Namespace) -> None:
    """Run a layer out of a file through the RTL and print what it took."""
    _show_layer(options, *_sound(options), options.weights, options.tensor)


def _sound(options: argparse.Namespace):
    """(configuration, packing) of options that have been checked."""
    config, packing = configuration(options), chosen_packing(options)
    require_int("seed", options.seed, low=0)
    if options.tokens is not None:
        require_int("tokens", options.tokens)
    return config, packing


def _show_layer(options, config, packing, file: Path, tensor: str | None) -> None:
    from tritloom.sim.checkpoints.matrix import load_matrix

    from . import layer

    run = layer.run_layer(
        load_matrix(file, tensor),
        config,
        packing=packing,
        tokens=options.tokens,
        seed=options.seed,
    )
    layer.show_layer(run, f"{file.name} {tensor or ''}".strip())


def speak_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `speak`."""
    parser.add_argument("--prompt", required=True, metavar="TEXT", help="text to continue")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="folder that `import` wrote "
        f"[{EXAMPLE_MODEL} of the source, or the copy that is installed]",
    )
    parser.add_argument(
        "--tokens",
        type=int,
        default=100,
        metavar="N",
        help="number of tokens to generate [%(default)s]",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.7,
        metavar="T",
        help="temperature of the draws; 0 takes the likeliest token [%(default)s]",
    )
    seed_argument(parser, "the draws")
    preset_argument(parser, "decode")
    dataflow_argument(parser)
    parser.add_argument(
        "--costs",
        default="asap7",
        metavar="NAME",
        help="cost table of the joules: a name or a .yaml file [%(default)s]",
    )


def run_speak(options: argparse.Namespace) -> None:
    """Let a model speak, and print the text and what it took."""
    config = configuration(options)
    from . import speak

    speak.show_speech(
        example_model() if options.model is None else options.model,
        config,
        options.prompt,
        options.tokens,
        temperature=options.temperature,
        seed=options.seed,
        costs=options.costs,
    )


def example_model() -> Path:
    """Folder of the model that comes with Tritloom; `InputError` where that is not at hand."""
    here = Path(__file__).parents[2]
    for folder in (EXAMPLE_MODEL, here / EXAMPLE_MODEL, here / PACKAGED_MODEL):
        if folder.is_dir():
            return folder
    raise InputError("the package brings no model that speaks: give --model, a folder of `import`")


def products_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `products`."""
    parser.add_argument(
        "--size",
        metavar="NAME",
        default="bitnet-2b4t",
        help=f"model: {', '.join(MODELS)} [%(default)s]",
    )
    parser.add_argument(
        "--blocks", type=int, metavar="N", help="number of decoder blocks [all of the model]"
    )
    parser.add_argument(
        "--tokens", type=int, default=1, metavar="M", help="number of tokens [%(default)s]"
    )
    preset_argument(parser, "decode")
    dataflow_argument(parser)
    packing_argument(parser)
    seed_argument(parser, "trits and acts")
    jobs_argument(parser)


def run_products(options: argparse.Namespace) -> None:
    """Run the products of a model's blocks and print what they took."""
    config, packing = configuration(options), chosen_packing(options)
    model = find_model(options.size)
    from . import products

    products.show_blocks(
        model,
        config,
        packing,
        blocks=model.layers if options.blocks is None else options.blocks,
        tokens=options.tokens,
        seed=options.seed,
        jobs=options.jobs,
    )


def board_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `board`."""
    parser.add_argument(
        "--port", required=True, metavar="PORT", help="serial port, such as /dev/ttyUSB0 or COM3"
    )
    parser.add_argument(
        "--board", metavar="NAME", default="ulx3s", help=f"board: {', '.join(BOARDS)} [%(default)s]"
    )
    seed_argument(parser, "the operands")


def run_board(options: argparse.Namespace) -> None:
    """Run a layer on a board and print what came of it."""
    from . import board

    board.show_board(options.port, board=options.board, seed=options.seed)


def soak_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `soak`."""
    parser.add_argument(
        "--cycles",
        type=int,
        default=10**8,
        metavar="N",
        help="number of cycles to simulate [%(default)s]",
    )
    seed_argument(parser, "descriptors, operands and stalls")
    parser.add_argument(
        "--run", type=int, metavar="N", help="number of the one run to repeat, from 0 [all]"
    )


def run_soak(options: argparse.Namespace) -> None:
    """Soak small cores and print what was run."""
    from . import soak

    soak.show_soak(options.cycles, seed=options.seed, run=options.run)


COMMANDS = (
    Command(
        name="demo",
        help="run a trained layer of SmolLM2-135M through the RTL",
        description="Streams blk.0.ffn_up of SmolLM2-135M, 576 to 1536 features, through the RTL.\n"
        "The model comes from PyPI once, its checksum is checked, and it is kept.",
        arguments=demo_arguments,
        run=run_demo,
    ),
    Command(
        name="layer",
        help="run a layer of your own through the RTL",
        description="Streams a matrix out of a .npy, .safetensors or .gguf file through the RTL.\n"
        "Trits are taken as they are, other weights quantised by absmean, as BitNet b1.58 does.",
        arguments=layer_arguments,
        run=run_layer,
        examples="{prog} layer --weights w.npy --preset tiny",
    ),
    Command(
        name="speak",
        help="continue a prompt with a language model, its products by the RTL",
        description="Generates text with every ternary product computed by the RTL; each token\n"
        "must be the golden decoder's. Prints cycles, utilisation and joules of a token.",
        arguments=speak_arguments,
        run=run_speak,
        examples='{prog} speak --prompt "To be, or not to be" --tokens 20',
    ),
    Command(
        name="products",
        help="run the ternary products of a large model's blocks",
        description="Streams random trits in the shapes of a model's decoder blocks through the\n"
        "RTL and checks every psum; prints cycles, utilisation and simulation speed.",
        arguments=products_arguments,
        run=run_products,
        examples="{prog} products --blocks 1",
    ),
    Command(
        name="board",
        help="run a small layer on a board, over its serial port",
        description="Runs a layer of several tiles on a board with the bitstream of\n"
        "`fpga --board`, with either packing, and compares with the golden model.",
        arguments=board_arguments,
        run=run_board,
        examples="{prog} board --port /dev/ttyUSB0",
    ),
    Command(
        name="soak",
        help="run random products under random stalls for long",
        description="Runs random products through small cores with random stalls on all streams;\n"
        "checks every psum, the counters and the cycles: docs/verification.md.",
        arguments=soak_arguments,
        run=run_soak,
    ),
)
