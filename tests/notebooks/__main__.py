"""`python -m tests.notebooks [--write] [NAME ...]`: see the package."""

import argparse
import sys

from tests.notebooks.checking import complaints, differences
from tests.notebooks.running import NAMES, executed, read, write


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.notebooks")
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument(
        "--write", action="store_true", help="save the outputs of today"
    )
    options = parser.parse_args()
    found = []
    for name in options.names:
        print(f"{name} ...", flush=True)
        saved, today = read(name), executed(read(name))
        errors = differences(name, today, today)
        if options.write and not errors:
            write(name, today)
            saved = today
        found += errors or complaints(name, saved) + differences(name, saved, today)
    print(*found, sep="\n") if found else print("All as saved.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
