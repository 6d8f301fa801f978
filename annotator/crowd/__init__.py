"""Who labels what: queue, leases, gold, studies, guidelines, feedback."""
