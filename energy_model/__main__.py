"""Entry point of `python -m energy_model`."""

import sys

from .cli import main

sys.exit(main())
