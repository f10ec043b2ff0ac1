"""Remember what was loaded of the default catalogue: a digest of each namespace, and of the catalogue as a whole."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.metadefs import versions

_T = tables.metadef_defaults
WHOLE = ""  # no namespace has this name: the row of the catalogue as a whole


def remembered(connection: Connection) -> dict[str, str]:
    """Return the digests, by namespace; ``WHOLE`` is the catalogue's. Empty where it was never loaded."""
    rows = connection.execute(select(_T.c.namespace, _T.c.digest))
    return {row.namespace: row.digest for row in rows}


def remember(connection: Connection, digests: Mapping[str, str]) -> None:
    """Remember these digests, and no others."""
    version = versions.current(connection)
    connection.execute(delete(_T))
    rows = [{"namespace": name, "digest": digest, "version": version} for name, digest in digests.items()]
    connection.execute(insert(_T), rows)
