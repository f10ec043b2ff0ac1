"""Run the service: the HTTP server's workers, request bodies, start and stop. No route of the API is known here."""
