"""One small file per array library: what the standard leaves out, and nothing more."""
