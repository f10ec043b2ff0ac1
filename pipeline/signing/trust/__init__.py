"""Judge certificates: chains, kinds of keys, PEM. Private keys stay in ``keys``."""
