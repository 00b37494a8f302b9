"""The command that reads checkpoints: `import`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tritloom.console.command import Command
from tritloom.sim.options import (
    chosen_packing,
    configuration,
    dataflow_argument,
    packing_argument,
    preset_argument,
)


def import_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `import`."""
    parser.add_argument(
        "source", type=Path, metavar="FILE", help="model file, or a folder with one"
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FOLDER", help="model folder to write"
    )
    parser.add_argument("--tensor", metavar="NAME", help="take this matrix alone")
    preset_argument(parser, "decode")
    dataflow_argument(parser)
    packing_argument(parser)
    parser.add_argument("--hex", action="store_true", help="write the weights for $readmemh too")


def run_import(options: argparse.Namespace) -> None:
    """Pack a checkpoint into a model folder and print a summary."""
    config, packing = configuration(options), chosen_packing(options)
    from .importer import import_model

    import_model(
        options.source,
        options.out,
        config=config,
        packing=packing,
        tensor=options.tensor,
        with_hex=options.hex,
    )


COMMANDS = (
    Command(
        name="import",
        help="pack a ternary checkpoint into a model folder",
        description="Packs the weights of a BitNet (a folder or .safetensors file of Hugging\n"
        "Face's, or a .gguf file), or one matrix of any file, for the core: docs/import.md.",
        arguments=import_arguments,
        run=run_import,
        examples="{prog} import model.gguf --out model\n"
        "{prog} import w.npy --out layer --preset tiny",
    ),
)
