"""Where image bytes live: one module a back end behind ``store.Store``."""
