"""Critic models, one kind a file, behind the protocol of `critic.models.protocol`."""
