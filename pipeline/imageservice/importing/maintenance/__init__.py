"""Keep stores and catalog in agreement: housekeeping, reconcile, migrate. Nothing here acts for a user."""
