"""What votes add up to: aggregation, agreement, adjudication, statistics."""
