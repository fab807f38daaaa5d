"""Looking into a network: summary, profile, memory."""
