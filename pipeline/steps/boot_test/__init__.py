"""Boot tests: every product's proof that it starts."""
