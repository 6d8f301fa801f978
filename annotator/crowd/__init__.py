"""Distribution of work: queue, leases, progress, gold, studies, guidelines, flags, history."""
