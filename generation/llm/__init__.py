"""The language model's API: client, Batch API, prices, JSON schemas."""
