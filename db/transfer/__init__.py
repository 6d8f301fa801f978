"""Import files into the store and export releases from it."""
