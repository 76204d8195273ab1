"""python -m v4rt: the program, with the same arguments."""

import os
import sys

from . import program


def main() -> None:
    os.execv(program(), [program(), *sys.argv[1:]])


if __name__ == "__main__":
    main()
