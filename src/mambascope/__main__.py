"""The command itself: `mambascope`, or `python -m mambascope`."""

import sys


def main() -> None:
    """Read the commands and run one. An interrupt is one line, also while Python still reads them."""
    try:
        from mambascope.cli.main import main as run
    except KeyboardInterrupt:
        print("mambascope: interrupted", file=sys.stderr)
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
