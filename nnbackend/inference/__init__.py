"""The forward pass outside training: predictions, losses and metrics of them."""
