"""Name what our HTTP server puts into a request's WSGI environment for those who move image data."""

SOURCE = "imageservice.source"  # the body, as a ``transfer.Source``
SEND_FILE = "imageservice.send_file"  # makes a response's body of an open file (``server.sending.SentFile``)
