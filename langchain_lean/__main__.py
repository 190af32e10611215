"""`python -m langchain_lean`: the command line."""

import sys

from langchain_lean.cli import main

if __name__ == "__main__":
    sys.exit(main())
