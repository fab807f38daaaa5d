"""From arrays to trained parameters: one way through, top to bottom."""
