"""The JSON API, a file for each kind of user. Routes only call."""
