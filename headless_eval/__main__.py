"""``python -m headless_eval``."""

import sys

from headless_eval.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
