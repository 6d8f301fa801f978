"""What a language model is asked to write, one task a file: context, messages, parsing."""
