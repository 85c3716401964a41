"""`python -m cin_keras`, the same as the command `cin-keras`."""

import sys

from cin_keras.cli import main

if __name__ == "__main__":
    sys.exit(main())
