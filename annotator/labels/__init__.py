"""Labels from votes: aggregation, label runs, agreement, adjudication, statistics."""
