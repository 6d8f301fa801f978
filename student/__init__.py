"""Students: vision-language models trained on a release, which answer questions about regions."""
