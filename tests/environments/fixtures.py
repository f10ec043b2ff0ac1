"""The servers as pytest fixtures, each started at most once a session.

A server whose program is not installed skips its tests, and says which package has it. Where ``PIPELINE_ALL_SERVERS``
is set (continuous integration), it fails them instead, so that nothing disappears unseen.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from tests.environments import ceph as storage_cluster
from tests.environments import databases
from tests.environments import keystone as identity
from tests.environments import swift as object_store
from tests.environments.daemon import NotInstalled

T = TypeVar("T")


@contextlib.contextmanager
def installed(server: contextlib.AbstractContextManager[T]) -> Iterator[T]:
    """Enter ``server``; skip the test, or fail it where all servers must run, when its program is missing."""
    with contextlib.ExitStack() as stack:
        try:
            value = stack.enter_context(server)
        except NotInstalled as missing:
            if os.environ.get("PIPELINE_ALL_SERVERS"):
                raise
            pytest.skip(str(missing).replace("\n", "; "))
        yield value


def needed(module: str, package: str) -> Any:
    """Import ``module`` of the system package ``package``; without it, skip or fail as ``installed``."""
    if os.environ.get("PIPELINE_ALL_SERVERS"):
        return importlib.import_module(module)
    return pytest.importorskip(module, reason=f"{package} is not installed")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[databases.Server]:
    """A PostgreSQL server for the whole session."""
    with installed(databases.postgresql()) as server:
        yield server


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[databases.Server]:
    """A MariaDB server for the whole session."""
    with installed(databases.mariadb()) as server:
        yield server


@pytest.fixture
def postgresql_url(postgresql_server: databases.Server) -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL database."""
    with postgresql_server.database() as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server: databases.Server) -> Iterator[str]:
    """The SQLAlchemy URL of an empty MariaDB database."""
    with mariadb_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def keystone() -> Iterator[identity.Keystone]:
    """The identity service, with its users and projects, for the whole session."""
    with installed(identity.keystone()) as server:
        yield server


@pytest.fixture(scope="session")
def swift(keystone: identity.Keystone) -> Iterator[object_store.Swift]:
    """The object store, for the whole session."""
    with installed(object_store.swift(keystone)) as server:
        yield server


@pytest.fixture(scope="session")
def ceph() -> Iterator[storage_cluster.Ceph]:
    """A Ceph cluster that keeps its data in memory, for the whole session."""
    with installed(storage_cluster.ceph()) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def gateway(ceph: storage_cluster.Ceph) -> Iterator[str]:
    """The URL of the cluster's S3 gateway, for the whole session."""
    with installed(storage_cluster.gateway(ceph)) as url:
        yield url


@pytest.fixture(scope="session")
def ceph_on_disk() -> Iterator[storage_cluster.Ceph]:
    """A Ceph cluster that keeps its data on disk, so that its OSD can be killed; for the whole session."""
    with installed(storage_cluster.ceph(memory=False)) as cluster:
        yield cluster
