"""The demo project: photographs of installed packages with regions, texts and triples."""
