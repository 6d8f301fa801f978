"""Model cards, publishing to a folder or the model hub, and conversion of LAVIS checkpoints."""
