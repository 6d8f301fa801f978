"""The labelling queue: items, leases, votes, and the rules that hold for them."""
