"""The designs that `sim.power.table` prices: ternary PEs, plainer ones and blocks of a core.

All but the blocks are hops: act registers, and the PEs that read them with their weight,
accumulator and drain registers.
"""

from __future__ import annotations

from dataclasses import dataclass

from tritloom.arch.config import ArrayConfig
from tritloom.hw.baselines.pe import Mac, MacFp16, MacFp32, SelectAdd


class MultiplyFp16(MacFp16):
    """FP16 multiply-accumulate that adds nothing, which tells its multiplier from its adder."""

    def accumulate(self, m, psum, total):
        """Return the product alone."""
        return total


class MultiplyExactly(MacFp32):
    """FP16 multiply-accumulate into FP32 that adds nothing."""

    def accumulate(self, m, psum, total):
        """Return the product alone."""
        return total


BASELINES = {
    "select and add": (SelectAdd, {}),
    "int8 MAC": (Mac, {"max_k": 1 << 23}),
    "FP16 MAC": (MacFp16, {"act_bits": 16}),
    "FP16 multiply": (MultiplyFp16, {"act_bits": 16}),
    "FP16 MAC, FP32 sum": (MacFp32, {"act_bits": 16}),
    "FP16 multiply to FP32": (MultiplyExactly, {"act_bits": 16}),
}
# What a core is made of. Of the sequencer, the act buffer is left out, which is SRAM.
CORE_BLOCKS = ("array", "unpacker", "sequencer", "registers")


@dataclass(frozen=True, kw_only=True)
class PricedDesign:
    """A hop, or a block of a core, to be priced.

    Attributes
    ----------
    kind : str
        `ternary`, our PE in technology asic; one of `BASELINES`; or one of `CORE_BLOCKS`.
    config : ArrayConfig
        One row and one hop.
    clock_hz : float, optional
        Clock that it is sized for; the smallest area otherwise.
    priced : bool
        Simulated too.
    """

    kind: str
    config: ArrayConfig
    clock_hz: float | None
    priced: bool = True

    @property
    def name(self) -> str:
        """Name of the design in a table."""
        if self.kind in BASELINES:
            return self.kind
        return f"{self.kind}, {self.config.lanes} lanes x {self.config.cols}"


def ternary(
    lanes: int,
    columns: int,
    *,
    clock_hz: float | None,
    carries: int,
    priced: bool = True,
    **parameters,
) -> PricedDesign:
    """Our PEs, as many as share act registers."""
    config = ArrayConfig(
        rows=1,
        cols=columns,
        cols_per_hop=columns,
        lanes=lanes,
        technology="asic",
        carries_per_stage=carries,
        **parameters,
    )
    return PricedDesign(kind="ternary", config=config, clock_hz=clock_hz, priced=priced)


def baseline(kind: str, *, clock_hz: float | None, stages: int = 1) -> PricedDesign:
    """Design of one of `BASELINES`, with `stages` registers behind its multiplier."""
    _, parameters = BASELINES[kind]
    config = ArrayConfig(rows=1, cols=1, lanes=1, select_stages=stages, **parameters)
    return PricedDesign(kind=kind, config=config, clock_hz=clock_hz)


def core_block(name: str, config: ArrayConfig) -> PricedDesign:
    """Design of one of `CORE_BLOCKS`, as small as it gets."""
    return PricedDesign(kind=name, config=config, clock_hz=None, priced=False)


# Carry delays that fit a stage at that clock, found by trying.
CARRIES = {0.5e9: 42, 1.0e9: 19, 1.2e9: 15}
# The smallest at any clock, too large to be simulated; a quarter of it; and one for 1.2 GHz.
SMALLEST = ternary(256, 32, clock_hz=None, carries=1000, max_k=4095, priced=False)
QUARTER = ternary(256, 8, clock_hz=None, carries=1000, max_k=4095)
FAST = ternary(128, 8, clock_hz=1.2e9, carries=CARRIES[1.2e9])


def table_designs() -> list[PricedDesign]:
    """Our PEs by lanes, sharing and clock; and the baselines."""
    designs = []
    for clock_hz in (0.5e9, 1.0e9):
        designs += [baseline(kind, clock_hz=clock_hz) for kind in BASELINES]
        designs += [
            ternary(lanes, columns, clock_hz=clock_hz, carries=CARRIES[clock_hz])
            for lanes in (4, 16, 64)
            for columns in (1, 8)
        ]
    return designs


def search_designs() -> list[PricedDesign]:
    """Areas and clocks around the best."""
    return [
        *(
            ternary(lanes, columns, clock_hz=None, carries=1000, priced=False)
            for lanes, columns in ((16, 16), (64, 1), (64, 16), (128, 8), (128, 16))
        ),
        *(
            ternary(lanes, 8, clock_hz=1e12 / (90 + 44 * carries), carries=carries, priced=False)
            for lanes in (16, 64)
            for carries in (10, 13, 15, 19, 26)
        ),
        *(
            core_block(name, ternary(64, 8, clock_hz=None, carries=19).config)
            for name in CORE_BLOCKS
        ),
        ternary(128, 16, clock_hz=1.2e9, carries=CARRIES[1.2e9], priced=False),
        FAST,
        QUARTER,
        SMALLEST,
    ]


def quick_designs() -> list[PricedDesign]:
    """Three small designs."""
    return [
        baseline("int8 MAC", clock_hz=1e9),
        baseline("FP16 MAC", clock_hz=0.5e9),
        ternary(16, 4, clock_hz=1e9, carries=CARRIES[1e9]),
    ]
