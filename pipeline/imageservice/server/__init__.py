"""How the service is run: the HTTP server's workers, request bodies, start and stop."""
