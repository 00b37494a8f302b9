"""FuseSoC generator: called with a YAML file that names the parameters, writes RTL where it runs.

Tritloom must be installed where the interpreter finds it.
"""

import subprocess
import sys
from pathlib import Path

import yaml

job = yaml.safe_load(Path(sys.argv[1]).read_text())
options = [
    text
    for name, value in job["parameters"].items()
    for text in (f"--{name.replace('_', '-')}", str(value))
]
subprocess.run([sys.executable, "-m", "tritloom.hw", "verilog", *options, "--out", "."], check=True)
(verilog,) = Path().glob("*.v")
(waivers,) = Path().glob("*.vlt")
core = {
    "name": job["vlnv"],
    "filesets": {
        # What lint need not warn of, and why: for Verilator, in front of the Verilog.
        "waivers": {"files": [{waivers.name: {"file_type": "vlt"}}]},
        "rtl": {"files": [{verilog.name: {"file_type": "verilogSource"}}]},
    },
    "targets": {"default": {"filesets": ["waivers", "rtl"]}},
}
Path("tritloom-rtl.core").write_text(f"CAPI=2:\n{yaml.safe_dump(core, sort_keys=False)}")
