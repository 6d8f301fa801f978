"""Read files of any origin: compressed or not, with any JSON values, into typed records."""
