"""The demo project: real photographs out of installed packages, with regions, texts and triples."""
