"""What a language model writes, one task per file: image context, messages, parsing of replies."""
