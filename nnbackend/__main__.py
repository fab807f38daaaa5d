"""``python -m nnbackend`` is the command ``nnbackend``."""

from nnbackend.cli import main

if __name__ == "__main__":
    main()
