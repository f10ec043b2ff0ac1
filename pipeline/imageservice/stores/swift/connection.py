"""Connect to a Swift account: logged in once, kept open, each connection used by one thread at a time."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import keystoneauth1.session
import swiftclient
from keystoneauth1.identity import v3

from pipeline.imageservice.stores.swift.errors import swift_errors
from pipeline.imageservice.stores.swift.options import SwiftOptions

_OF_PROJECT = re.compile(r"([A-Za-z0-9]+_)?[0-9a-f]{32}")

# It logs every request with its token's beginning, and every failed one as a traceback.
logging.getLogger("swiftclient").setLevel(logging.CRITICAL)


class SwiftConnections:
    """A pool of connections. They are made when needed, so there are as many as were used at once."""

    def __init__(self, options: SwiftOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._idle: list[swiftclient.Connection] = []
        self._account: str | None = None
        self._session: keystoneauth1.session.Session | None = None

    @contextlib.contextmanager
    def connection(self) -> Iterator[swiftclient.Connection]:
        """Borrow a connection for the block; after an error it is closed before somebody else gets it."""
        connection = self.borrow()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        finally:
            self.give_back(connection)

    def borrow(self) -> swiftclient.Connection:
        """Borrow a connection, until ``give_back``."""
        with self._lock:
            return self._idle.pop() if self._idle else self._connect()

    def give_back(self, connection: swiftclient.Connection) -> None:
        """Let others use a connection, on which no answer is left to read."""
        with self._lock:
            self._idle.append(connection)

    @property
    def account(self) -> str:
        """The account's identity, whatever its users, addresses and references.

        Accounts that are named by a project of Keystone are the only ones of their name anywhere; others are so on
        their server. Raises ``StoreUnavailable``.
        """
        if self._account is None:
            with swift_errors(self._options.id), self.connection() as connection:
                url, _ = connection.get_auth()
            parts = urlsplit(str(self._options.endpoint or url))
            account = parts.path.rstrip("/").rpartition("/")[2]
            if not _OF_PROJECT.fullmatch(account):
                account = f"{parts.netloc.lower()}/{account}"
            self._account = account
        return self._account

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def _connect(self) -> swiftclient.Connection:
        options = self._options
        common: dict[str, Any] = {
            "retries": options.attempts - 1,
            "starting_backoff": 0.2,
            "max_backoff": 5,
            "cacert": str(options.ca_file) if options.ca_file else None,
            "timeout": (options.connect_timeout, options.read_timeout),
        }
        if options.auth_version == "1":
            key = options.key.read() if options.key else ""
            return swiftclient.Connection(options.auth_url, options.user, key, auth_version="1", **common)
        if self._session is None:
            self._session = _log_in(options)
        location = {
            "region_name": options.region,
            "endpoint_type": options.interface,
            "service_type": options.service_type,
            "object_storage_url": options.endpoint,
        }
        return swiftclient.Connection(session=self._session, os_options=location, **common)


def _log_in(options: SwiftOptions) -> keystoneauth1.session.Session:
    """Return a session of Keystone, which renews its token by itself; nothing is contacted yet."""
    if options.application_credential_secret is not None:
        auth: Any = v3.ApplicationCredential(
            options.auth_url,
            application_credential_id=options.application_credential_id,
            application_credential_secret=options.application_credential_secret.read(),
        )
    else:
        project, _, user = str(options.user).rpartition(":")
        auth = v3.Password(
            options.auth_url,
            username=user,
            password=options.key.read() if options.key else "",
            project_name=options.project or project,
            user_domain_name=options.user_domain_name,
            user_domain_id=options.user_domain_id or (None if options.user_domain_name else "default"),
            project_domain_name=options.project_domain_name,
            project_domain_id=options.project_domain_id or (None if options.project_domain_name else "default"),
        )
    return keystoneauth1.session.Session(
        auth=auth,
        verify=str(options.ca_file) if options.ca_file else True,
        timeout=options.read_timeout,
        connect_retries=options.attempts - 1,
    )
