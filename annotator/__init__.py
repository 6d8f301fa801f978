"""The web app: label triples, train critics, ask students."""
