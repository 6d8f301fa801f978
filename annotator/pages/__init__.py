"""The pages: each is `build(store)`, thin over functions that are tested without a browser."""
