"""Durable work: imports and what else outlives a request, run by worker processes."""
