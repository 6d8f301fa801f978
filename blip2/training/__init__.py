"""Training utilities that depend on no model: critics and students of every kind use them."""
