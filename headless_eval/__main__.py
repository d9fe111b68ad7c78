"""``python -m headless_eval``."""

import sys

from headless_eval.cli import main

if __name__ == "__main__":
    sys.exit(main())
