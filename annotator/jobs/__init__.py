"""Work behind the pages: training, generation, asking a student."""
