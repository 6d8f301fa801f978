"""What a lead sees of the annotators: agreement, reliability, progress, cost."""
