"""`python -m prebuilds` is the command `prebuilds`."""

import sys

from prebuilds.cli import main

if __name__ == "__main__":
    sys.exit(main())
