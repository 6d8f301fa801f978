"""The pages, one folder each: `build(store)`, a thin layer over functions with their own tests."""
