"""A pass recorded once as a list of calls, and played again and again."""
