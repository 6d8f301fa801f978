"""Sign-in and account pages, plain HTML without scripts."""
