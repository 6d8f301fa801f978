"""The web app: where people judge triples, tune the critic and ask the student."""
