"""Training: data, initial model, training loop, checkpoints, log and evaluation."""
