"""``python -m headless_eval``, and what the command ``headless-eval`` calls."""

import signal
import sys


def main() -> int:
    """Run the command line; Ctrl-C while its modules are imported ends it without a traceback."""
    try:
        from headless_eval.cli.main import main as run
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
