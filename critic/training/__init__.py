"""Training, scoring and automatic retraining of critics."""
