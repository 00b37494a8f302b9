"""The unpacker against its cycle model, its decoder against the format, and mutants."""

import itertools

import pytest
from amaranth.sim import Simulator

from tritloom.arch.ternary import TRIT2, TRIT5, from_codes
from tritloom.hw.core.unpacker import ByteDecoder
from tritloom.sim.bench.runner import plant, run_unpacker_bench, unpacker_verilog

PACKINGS = pytest.mark.parametrize("packing", [TRIT2, TRIT5], ids=lambda packing: packing.name)


@pytest.fixture(scope="module")
def decoded():
    """(packing's name, byte) -> (five codes, illegal), from the gateware."""
    decoder, seen, blanked = ByteDecoder(), {}, set()

    async def drive(ctx):
        for number, packing in enumerate((TRIT2, TRIT5)):
            ctx.set(decoder.packing, number)
            for byte in range(256):
                ctx.set(decoder.data, byte)
                trits = ctx.get(decoder.trits)
                codes = [trits >> 2 * index & 3 for index in range(5)]
                seen[packing.name, byte] = codes, ctx.get(decoder.illegal)
                ctx.set(decoder.blank, 1)
                blanked.add(ctx.get(decoder.trits))
                ctx.set(decoder.blank, 0)

    simulator = Simulator(decoder)
    simulator.add_testbench(drive)
    simulator.run()
    assert blanked == {0}
    return seen


@PACKINGS
@pytest.mark.parametrize("byte", range(256))
def test_decoder_gives_the_packing_s_trits_of_every_byte(decoded, packing, byte):
    codes, illegal = decoded[packing.name, byte]
    assert from_codes(codes).tolist() == [*packing.table[byte], 0][:5]
    assert illegal == (not packing.legal[byte])


def test_decoder_inverts_pairs_of_bits(decoded):
    code = {0: 0b00, 1: 0b01, -1: 0b11}
    for trits in itertools.product((-1, 0, 1), repeat=4):
        byte = sum(code[trit] << 2 * index for index, trit in enumerate(trits))
        assert decoded["trit2", byte] == ([*(code[trit] for trit in trits), 0], 0)


@pytest.mark.slow
@pytest.mark.parametrize("positions", [1, 3, 8, 20, 64])
def test_unpacker_matches_model_layout_and_cycles(positions, simulator, folder):
    assert run_unpacker_bench(positions, seed=positions, simulator=simulator, folder=folder) == ""


MUTANTS = {
    "pair of zeros not zero": (r"(assign low_zero = nothing \|) \w+", r"\1 1'h0"),
    "trits of an illegal byte are not zero": (r"(assign nothing = blank \|) \w+", r"\1 1'h0"),
    "spare byte reported": (r"(illegal_bytes & )counted", r"\g<1>-1"),
    "dropped beat reported": (r"~ ignored;", r"1'h1;"),
    "number of the beat never cleared": (r"\{ rst, starts \}", r"{ rst, 1'h0 }"),
    "stream waits for an idle cycle": (r"assign free = [^;]*;", r"assign free = left == 0;"),
    "slice gone before it is taken": (r"\.move\(\w+\)", r".move(1'h1)"),
    "trit5 has four slices": (r"packing \? 5'h1f : 5'h0f", r"5'h0f"),
    "missing beats are not zero": (r"\.blank\(filling\)", r".blank(1'h0)"),
    "no zeros after the stream's end": (r"= exhausted & ended;", r"= 1'h0;"),
    "early end unnoticed within a group": (r"(= load \? )filling :", r"\g<1>1'h0 :"),
    "staged beats of a late pass kept": (r"if \(\w+\)( slot <= 2'h0;)", r"if (rst)\1"),
    "mark in a pass's last cycle missed": (r"(= late \? )\w+ :", r"\g<1>1'h1 :"),
    "reset leaves the stage": (r"if \(\w+\)( slot <= 2'h0;)", r"if (late)\1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", MUTANTS)
def test_lockstep_catches_a_fault(fault, simulator, folder):
    # Five positions in beats of two bytes: the third beat has a spare byte, the fourth two.
    verilog = plant(unpacker_verilog(5), *MUTANTS[fault])
    failure = run_unpacker_bench(5, seed=3, simulator=simulator, folder=folder, verilog=verilog)
    # The bench itself must have noticed, not some error on the way.
    assert "the model says" in failure


def test_every_fault_can_be_planted():
    verilog = unpacker_verilog(5)
    assert len({plant(verilog, *change) for change in MUTANTS.values()} - {verilog}) == len(MUTANTS)


@pytest.mark.slow
def test_lockstep_passes_without_a_fault(simulator, folder):
    assert run_unpacker_bench(5, seed=3, simulator=simulator, folder=folder) == ""
