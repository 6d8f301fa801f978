"""The store: what one step hands to the next, and the only thing that a restart must find again."""
