"""Accounts: passwords, sessions, invitations, tokens, preferences."""
