"""Routes of the JSON API, one module per group of users."""
