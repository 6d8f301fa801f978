"""The BLIP-2 model: encoder, tiny configurations, and weights from LAVIS checkpoints."""
