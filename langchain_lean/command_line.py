"""What commands have in common."""

import argparse
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose errors are a sentence, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Say on standard error what is wrong, and end with code 2."""
        said = " ".join(message.split()).removesuffix(".")
        self.exit(2, f"{self.prog}: error: {said}; see {self.prog} --help.\n")
