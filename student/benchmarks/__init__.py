"""The paper's benchmarks, and one of hallucination: official files, official metrics, zero-shot."""
