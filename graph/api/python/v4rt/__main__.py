"""python -m v4rt: the program, with the same arguments."""

import os
import sys


def main() -> None:
    program = os.path.join(os.path.dirname(__file__), "bin", "v4rt")
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
