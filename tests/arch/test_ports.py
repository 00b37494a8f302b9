"""arch.ports: what users read of each port stands alone."""

import pytest

from tritloom.arch.config import PRESETS, Dataflow, preset
from tritloom.arch.errors import InputError
from tritloom.arch.ports import core_ports, psums_stream_bits
from tritloom.hw.array import array

BASE = core_ports(preset("base"))


@pytest.mark.parametrize("port", BASE, ids=lambda port: port.name)
def test_description_says_without_its_neighbours_what_the_port_is(port):
    first, *rest = port.what.split()
    assert rest
    assert first not in ("and", "or", "it", "also")


@pytest.mark.parametrize("port", BASE, ids=lambda port: port.name)
def test_description_of_a_handshake_says_who_acts(port):
    if port.name.endswith(("valid", "ready")):
        word = "while the" if port.name.endswith("valid") else "when the"
        assert f"high {word} " in port.what
        assert port.width == 1


@pytest.mark.parametrize(
    ("dataflow", "row"),
    [(Dataflow.OUTPUT_STATIONARY, "token"), (Dataflow.WEIGHT_STATIONARY, "slice")],
)
def test_acts_are_described_as_the_dataflow_lays_them_out(dataflow, row):
    config = preset("tiny").replace(dataflow=dataflow)
    told = {port.name: port.what for port in core_ports(config)}["s_axis_acts_tdata"]
    inside = array.ports(config)["acts_data"][2]
    for what in (told, inside):
        assert f"act [{row}][lane], {row} 0 lane 0 in the low bits" in what


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_the_same_ports_each_once(name):
    ports = core_ports(preset(name))
    assert [port.name for port in ports] == [port.name for port in BASE]
    assert len({port.name for port in ports}) == len(ports)
    assert min(port.width for port in ports) > 0


def test_psum_that_could_be_wider_than_its_place_is_told():
    config = preset("tiny").replace(act_bits=16, max_k=1 << 20)
    with pytest.raises(
        InputError, match=r"^psums of max_k = 1048576 and act_bits = 16 are 37 bits"
    ):
        psums_stream_bits(config)
