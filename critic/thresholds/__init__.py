"""How well a critic separates triples: curves, intervals, slices, guarantees, votes to collect."""
