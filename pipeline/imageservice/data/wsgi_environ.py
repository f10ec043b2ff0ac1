"""Name what our HTTP server and the application tell each other in a request's WSGI environment."""

SOURCE = "imageservice.source"  # the body, as a ``transfer.Source``
CONNECTION = "imageservice.connection"  # what has gone over the connection, and its end (``server.sending.ClientWire``)
SLOW_BODY = "imageservice.slow_body"  # whether the body may keep whoever reads it waiting
SEND_FILE = "imageservice.send_file"  # makes a response's body of an open file (``server.sending.SentFile``)
HOLD_SLOT = (
    "imageservice.hold_slot"  # holds a slot of the caller's project while a long answer is sent (set by the API)
)
