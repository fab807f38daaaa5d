"""Tables from files, and as numbers."""
