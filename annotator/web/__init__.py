"""The web server: app, sign-in pages, security, JSON API."""
