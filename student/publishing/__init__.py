"""Model cards, publishing to a folder or the hub, and conversion of LAVIS checkpoints."""
