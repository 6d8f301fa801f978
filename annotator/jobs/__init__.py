"""Background work of the pages: training, generation, asking a student."""
