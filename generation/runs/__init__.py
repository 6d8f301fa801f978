"""Generation runs: requests, the journal of calls, cost estimates, budgets, results."""
