"""`python -m gwlbemu` is the command `gwlbemu`."""

from __future__ import annotations

import sys

from gwlbemu.cli.script import main

if __name__ == "__main__":
    sys.exit(main())
