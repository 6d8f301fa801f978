"""Which triples people label, and the labels that their votes make."""
