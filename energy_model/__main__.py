"""Entry point of `python -m energy_model`."""

import sys

from tritloom.energy_model.cli import main

sys.exit(main())
