"""The student: a vision-language model that learned from a release, and answers about regions."""
