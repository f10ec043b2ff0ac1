"""Keep tasks and leases: the queue of durable work, and who holds what of it. What a task does is not known here."""
