"""`python -m clora_ext.cli`: the `clora` command, for launchers that start modules."""

import sys

from .app import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
