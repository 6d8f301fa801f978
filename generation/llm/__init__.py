"""Language models behind the OpenAI API: client, Batch API, prices, token counts, budget."""
