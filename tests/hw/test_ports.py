"""Descriptions of ports: users read each alone, in the JSON sidecar."""

import re

import pytest

from tritloom.arch.config import PRESETS, Dataflow
from tritloom.hw.array import array, row
from tritloom.hw.board import fifo, loader, top, uart
from tritloom.hw.core import core, registers, sequencer, unpacker
from tritloom.hw.emit import listed
from tritloom.hw.verilog import generate, generate_core, generate_hop, generate_pe

CONFIGS = {str(dataflow): PRESETS["tiny"].replace(dataflow=dataflow) for dataflow in Dataflow}
# Tables of ports by the name of a configuration.
PER_CONFIG = {
    "core": core.core_table,
    "array": array.ports,
    "pe": array.pe_ports,
    "hop": row.hop_ports,
    "stack": lambda config: row.stack_ports(config, config.rows),
    "registers": registers.ports,
    "sequencer": sequencer.ports,
    "loads": sequencer.load_ports,
    "loader": loader.loader_ports,
}
TABLES = {
    f"{name}-{key}": table(config)
    for name, table in PER_CONFIG.items()
    for key, config in CONFIGS.items()
} | {
    "unpacker": unpacker.ports(8),
    "lanes": unpacker.lane_ports(2),
    "decoder": unpacker.DECODER_PORTS,
    "fifo": fifo.FIFO_PORTS,
    "receiver": uart.RECEIVER_PORTS,
    "transmitter": uart.TRANSMITTER_PORTS,
    "top": top.PORTS,
}
PRONOUNS = r"\b(it|its|they|them|their|he|she|his|her)\b"


def flaws(descriptions):
    """What is wrong with descriptions of the ports of one module, by name."""
    wrong = []
    for name, what in descriptions.items():
        if not what[:1].isalpha():
            wrong.append(f"{name} starts with no letter: {what!r}")
        if len(what.split()) < 3:
            wrong.append(f"{name} has less than three words: {what!r}")
        if re.search(PRONOUNS, what):
            wrong.append(f"{name} has a pronoun: {what!r}")
        if re.match(r"(and|or|as|of)\b", what):
            wrong.append(f"{name} does not stand alone: {what!r}")
    said = list(descriptions.values())
    return wrong + [f"twice: {what!r}" for what in sorted({w for w in said if said.count(w) > 1})]


@pytest.mark.parametrize("name", TABLES)
def test_every_description_stands_alone(name):
    assert flaws({port.name: port.what for port in listed(TABLES[name])}) == []


@pytest.mark.parametrize("generator", [generate, generate_core, generate_pe, generate_hop])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_every_port_of_the_sidecar_has_such_a_description(generator, config):
    told = generator(config).sidecar()["ports"]
    assert told
    assert flaws({port["name"]: port["what"] for port in told}) == []


@pytest.mark.parametrize(
    ("what", "flaw"),
    [
        ("", "starts with no letter"),
        ("00 zero, 01 one, 11 minus one", "starts with no letter"),
        ("and taken", "less than three words"),
        ("and taken by the receiver", "does not stand alone"),
        ("as of the component", "does not stand alone"),
        ("this cycle it takes a beat", "has a pronoun"),
        ("high for a beat of acts", "twice"),
    ],
)
def test_description_that_does_not_is_noticed(what, flaw):
    assert flaw in "\n".join(flaws({"acts_valid": "high for a beat of acts", "other": what}))
