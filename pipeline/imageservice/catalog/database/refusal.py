"""Say in words why a database refuses, and what to do next: for the log, commands and the start.

Clients learn only that the catalog does not answer. The password is in no text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy.engine import URL

from pipeline.base import plain_text
from pipeline.base.errors import PipelineError
from pipeline.imageservice.errors import Unavailable

_NAMES = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "mariadb": "MariaDB", "sqlite": "SQLite"}
_LONGEST = 400


class CatalogUnavailable(Unavailable):
    """The database cannot be used now. ``cause`` and ``action`` are for operators."""

    def __init__(self, cause: str, action: str, driver_message: str) -> None:
        super().__init__(
            "The image catalog does not answer now; try again", detail=f"{cause} ({driver_message}); {action}"
        )
        self._cause, self._action, self._driver_message = cause, action, driver_message

    def in_full(self) -> PipelineError:
        """See ``PipelineError``."""
        return PipelineError(self._cause, details=[self._driver_message], hint=self._action)


@dataclass(frozen=True)
class _Kind:
    """One kind of refusal: how to recognise it, by text or by a number or state, its cause and what to do.

    ``{who}``, ``{host}`` and ``{name}`` are filled in.
    """

    pattern: str
    codes: frozenset[object]
    cause: str
    action: str


def _kind(pattern: str, codes: set[object], cause: str, action: str) -> _Kind:
    return _Kind(pattern, frozenset(codes), cause, action)


# The first that fits counts. MariaDB's numbers: mariadb.com/kb/en/mariadb-error-code-reference; states: PostgreSQL's
# appendix A. What fails before there is a session has only its text in psycopg.
_KINDS = (
    _kind(
        r"password authentication failed|no password supplied|authentication failed|role .* does not exist",
        {1045, 1698, "28P01", "28000"},
        "refuses {who}",
        "mend user and password in `database.url` (write @ : / in them as %40 %3A %2F)",
    ),
    _kind(
        r"no pg_hba\.conf entry|pg_hba\.conf rejects|not allowed to connect",
        {1130},
        "does not let {who} in from this machine",
        "allow it in the server's pg_hba.conf, or grant the user access from this host; it may want TLS, too",
    ),
    _kind(
        r"database .* does not exist",
        {1049, "3D000"},
        "has no database {name}",
        "create it, or mend its name in `database.url`",
    ),
    _kind(
        r"permission denied for|must be owner of",
        {1044, 1142, 1143, 1227, "42501"},
        "does not let {who} work with the database {name}",
        "grant the user all rights on the database {name} (and in PostgreSQL `CREATE` on its schema public)",
    ),
    _kind(
        r"too many clients|remaining connection slots|too many connections",
        {1040, 1203, 1226, "53300"},
        "has no connection left",
        "raise its max_connections, or lower `database.connections` of the image service",
    ),
    _kind(
        r"certificate|\b(ssl|tls)\b|sslmode|sslrootcert|_SSL_|SSLError",
        {2026, 3159},
        "and the image service agree on no TLS",
        "look at the server's certificate and at what `database.url` asks for: sslmode, sslrootcert (PostgreSQL), "
        "ssl_ca (MariaDB)",
    ),
    _kind(
        r"starting up|shutting down|in recovery|terminating connection",
        {1053, "57P01", "57P02", "57P03"},
        "is starting or ending",
        "try again when it is ready",
    ),
    _kind(
        r"read-only transaction|read[-_]only|readonly",
        {1290, 1792, 1836, "25006"},
        "takes no writes now",
        "`database.url` has to name the server that is written to, not a standby; look at the server's log",
    ),
    _kind(
        r"no space left|disk full|database or disk is full|could not extend file",
        {1021, 1114, "53100"},
        "has no room left",
        "free some space where it keeps its data",
    ),
    _kind(
        r"translate host name|name or service not known|name resolution|nodename nor servname|failed to resolve|"
        r"no address associated",
        {2005},
        "cannot be found: no address is known for {host}",
        "mend the host in `database.url`, or name resolution on this machine",
    ),
    _kind(
        r"could not serialize|deadlock|lock wait timeout|lock timeout|statement timeout|record has changed",
        {1020, 1205, 1213, 1969, "40001", "40P01", "55P03", "57014"},
        "is busy with other changes",
        "try again; if it goes on, look for transactions there that stay open, and at its time-outs for locks and "
        "statements",
    ),
    _kind(
        r"refused|timed? ?out|timeout|unreachable|no route|server closed|lost connection|gone away|broken pipe|"
        r"reset by peer|can't connect|connection (to server .* )?failed|is the server running|connection is lost|"
        r"connection is closed|consuming input failed",
        {2002, 2003, 2006, 2013, 2055, "08000", "08001", "08003", "08006"},
        "does not answer",
        "start it, or mend host and port in `database.url`; a firewall may be in between",
    ),
)
_FILE_KINDS = (
    _kind(
        r"unable to open",
        set(),
        "cannot be opened",
        "its folder must exist, and the service's user must be able to read and write both",
    ),
    _kind(
        r"not a database|malformed|encrypted",
        set(),
        "is damaged, or no SQLite database",
        "restore a backup (./inv service.restore) into a new file",
    ),
    _kind(r"locked|busy", set(), "is busy", "try again; see which program holds it open"),
    _kind(
        r"readonly|read-only|permission",
        set(),
        "cannot be written",
        "give the service's user the right to write it and its folder",
    ),
    _kind(r"disk is full|no space", set(), "has no room left", "free some space on its file system"),
)


def refusal(error: BaseException, url: URL) -> CatalogUnavailable:
    """Return what a driver's ``error`` means, met at the database ``url``."""
    cause, action, driver_message = explain(error, url)
    return CatalogUnavailable(cause, action, driver_message)


def explain(error: BaseException, url: URL) -> tuple[str, str, str]:
    """Return the cause, what to do about it, and what the driver said; in none of them is the password."""
    driver_message = _driver_message(error, url)
    codes = {getattr(error, "sqlstate", None), *error.args[:1]}
    kinds = _FILE_KINDS if url.get_backend_name() == "sqlite" else _KINDS
    for kind in kinds:
        if codes & kind.codes or re.search(kind.pattern, driver_message, re.IGNORECASE):
            break
    else:
        kind = _kind("", set(), "cannot be used", "look at `database.url`, and at the database server's log")
    words = {"who": _who(url), "host": url.host or "this machine", "name": url.database or ""}
    return f"{_what(url)} {kind.cause.format(**words)}", kind.action.format(**words), driver_message


def _what(url: URL) -> str:
    kind = _NAMES.get(url.get_backend_name(), url.get_backend_name())
    if kind == "SQLite":
        return f"the SQLite database {url.database}"
    host = f"[{url.host}]" if url.host and ":" in url.host else url.host or "this machine"
    return f"{kind} on {host}{f':{url.port}' if url.port else ''}"


def _who(url: URL) -> str:
    return f"user {url.username}" if url.username else "a user without a name"


def _driver_message(error: BaseException, url: URL) -> str:
    """Return what the driver says, on one line. libpq repeats connection strings that it cannot read."""
    words = [str(word) for word in error.args[1:]] if error.args and isinstance(error.args[0], int) else [str(error)]
    text = plain_text.one_line(" ".join(" ".join(words).split()))
    for secret in {url.password, *(str(value) for name, value in url.query.items() if "pass" in name)}:
        if secret:
            text = text.replace(str(secret), "…")
    return text[:_LONGEST] or type(error).__name__
