"""Models and runs in files: written whole or not at all, with nothing executed."""
