"""Files of the field, one format a file: each reads rows into the store or writes a release."""
