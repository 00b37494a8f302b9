"""A sketch of the core in a LiteX SoC: `python -m hw verilog` writes the two files it reads.

    core = Tritloom(platform, Path("build/verilog/base.json"))
    soc.bus.add_slave("tritloom", core.control, SoCRegion(origin=..., size=256, cached=False))

`acts` and `weights` are fed and `psums` is drained by DMAs of the SoC's own; docs/registers.md says
what software writes to `control`.
"""

import json
from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.interconnect import stream
from litex.soc.interconnect.axi import AXILiteInterface
from migen import ClockSignal, Instance, ResetSignal, Signal


class Tritloom(LiteXModule):
    """The core, its streams as LiteX endpoints, its registers as an AXI4-Lite bus.

    Parameters
    ----------
    platform
        LiteX platform, which gets the Verilog.
    sidecar : Path
        The JSON file beside the generated Verilog.
    """

    def __init__(self, platform, sidecar: Path):
        about = json.loads(sidecar.read_text())
        width = {port["name"]: port["width"] for port in about["ports"]}
        platform.add_source(str(sidecar.with_suffix(".v")))

        self.acts = acts = stream.Endpoint([("data", width["s_axis_acts_tdata"])])
        self.weights = weights = stream.Endpoint([("data", width["s_axis_weights_tdata"])])
        self.psums = psums = stream.Endpoint([("data", width["m_axis_psums_tdata"])])
        # As wide as the SoC's own bus, or LiteX's bridges refuse it; the core reads the low bits.
        self.control = bus = AXILiteInterface(data_width=32, address_width=32)
        self.irq = Signal()

        self.specials += Instance(
            about["top"],
            i_clk=ClockSignal("sys"),
            i_rst=ResetSignal("sys"),
            i_s_axis_acts_tdata=acts.data,
            i_s_axis_acts_tlast=acts.last,
            i_s_axis_acts_tvalid=acts.valid,
            o_s_axis_acts_tready=acts.ready,
            i_s_axis_weights_tdata=weights.data,
            i_s_axis_weights_tlast=weights.last,
            i_s_axis_weights_tvalid=weights.valid,
            o_s_axis_weights_tready=weights.ready,
            o_m_axis_psums_tdata=psums.data,
            o_m_axis_psums_tlast=psums.last,
            o_m_axis_psums_tvalid=psums.valid,
            i_m_axis_psums_tready=psums.ready,
            i_s_axil_awaddr=bus.aw.addr[: width["s_axil_awaddr"]],
            i_s_axil_awprot=bus.aw.prot,
            i_s_axil_awvalid=bus.aw.valid,
            o_s_axil_awready=bus.aw.ready,
            i_s_axil_wdata=bus.w.data,
            i_s_axil_wstrb=bus.w.strb,
            i_s_axil_wvalid=bus.w.valid,
            o_s_axil_wready=bus.w.ready,
            o_s_axil_bresp=bus.b.resp,
            o_s_axil_bvalid=bus.b.valid,
            i_s_axil_bready=bus.b.ready,
            i_s_axil_araddr=bus.ar.addr[: width["s_axil_araddr"]],
            i_s_axil_arprot=bus.ar.prot,
            i_s_axil_arvalid=bus.ar.valid,
            o_s_axil_arready=bus.ar.ready,
            o_s_axil_rdata=bus.r.data,
            o_s_axil_rresp=bus.r.resp,
            o_s_axil_rvalid=bus.r.valid,
            i_s_axil_rready=bus.r.ready,
            o_irq=self.irq,
        )
