"""`python -m fedloom`: the command line."""

from __future__ import annotations

import sys

from fedloom.cli.main import main

sys.exit(main())
