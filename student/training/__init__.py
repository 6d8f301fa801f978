"""Training a student: corpus, batches, losses, the training loop and its log."""
