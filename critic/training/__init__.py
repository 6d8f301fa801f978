"""Training and scoring as runs of the store; automatic retraining; resource estimates."""
