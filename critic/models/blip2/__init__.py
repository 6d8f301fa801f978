"""The critic of the LSKD paper: network, losses, training steps, and released checkpoints."""
