"""Define what can go wrong between a client and the service while bytes are on their way."""

from __future__ import annotations

from pipeline.imageservice.errors import ServiceError


class ClientGone(ServiceError):
    """The client closed the connection in the middle; nobody is left to answer to."""


class ClientStalled(ServiceError):
    """The client has moved no byte for too long."""
