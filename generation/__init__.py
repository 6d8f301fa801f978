"""Images to text: what a teacher reads before it writes triples."""
