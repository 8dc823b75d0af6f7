"""`python -m gwlbemu` is the `gwlbemu` command."""

import sys

from gwlbemu.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
