"""Critic models, one kind a module, behind the interface of `critic.protocol`."""
