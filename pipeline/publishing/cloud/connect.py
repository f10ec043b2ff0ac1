"""Connect to the cloud that a name means.

Names come from the operator's own ``clouds.yaml`` (wherever openstacksdk looks for it). The bundled image service is
the cloud ``bundled``: its entry is written to ``clouds.yaml`` in the pipeline's home; an operator's own entry of that
name goes first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openstack
import openstack.exceptions
import yaml
from keystoneauth1.exceptions import ClientException
from openstack.config import OpenStackConfig

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.publishing.cloud.http import Http, LazyAdapter
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.retry import CloudRetryPolicy

BUNDLED = "bundled"
# It warns of what then fails, and without a handler Python prints that between our lines.
logging.getLogger("keystoneauth").addHandler(logging.NullHandler())


def entry_file(home: Home) -> Path:
    """Return the pipeline's own ``clouds.yaml``."""
    return home.root / "clouds.yaml"


def write_entry(home: Home, endpoint: str, token: str) -> None:
    """Let ``openstack --os-cloud bundled`` and publishing find the bundled service at ``endpoint``.

    The file holds a token and is for its owner only.
    """
    entry = {
        "auth_type": "admin_token",
        "auth": {"endpoint": f"{endpoint.rstrip('/')}/v2", "token": token},
        "image_api_version": "2",
    }
    text = yaml.safe_dump({"clouds": {BUNDLED: entry}}, sort_keys=False)
    target = entry_file(home)
    if not target.is_file() or target.read_text() != text or target.stat().st_mode & 0o077:
        atomic.write_text(target, text, mode=0o600)


def connect(
    home: Home, cloud: str, *, retry_policy: CloudRetryPolicy | None = None, former: Sequence[str] = ()
) -> ImageApi:
    """Return a connection to ``cloud``; images of the projects ``former`` count as ours, too.

    Raises ``PipelineError`` when there is no such entry or it cannot be used.
    """
    region = _region(home, cloud)
    try:
        connection = openstack.connection.Connection(config=region)
        http = Http(LazyAdapter(lambda: connection.image), cloud, retry_policy or CloudRetryPolicy()).reached()
    except (openstack.exceptions.SDKException, ValueError, TypeError) as error:
        raise PipelineError(
            f"cloud {cloud} cannot be used: {_first_line(error)}", hint=f"check its entry: {_where(home)}"
        ) from None
    return ImageApi(http, Owners(http.project, tuple(former)))


def session(home: Home, cloud: str) -> tuple[Any, str | None]:
    """Return who we are on ``cloud``: the keystoneauth plugin and the project's id, for its other services."""
    region = _region(home, cloud)
    try:
        connection = openstack.connection.Connection(config=region)
        return connection.session.auth, connection.current_project_id
    except (openstack.exceptions.SDKException, ClientException, ValueError, TypeError) as error:
        raise PipelineError(
            f"cloud {cloud} cannot be used: {_first_line(error)}", hint=f"check its entry: {_where(home)}"
        ) from None


def is_operators(cloud: str) -> bool:
    """Return whether the operator's own ``clouds.yaml`` has an entry of this name."""
    return cloud in _operators_names(_operators())


def names(home: Home) -> list[str]:
    """Return every cloud that can be named."""
    own = {BUNDLED} if entry_file(home).is_file() else set()
    return sorted(own | set(_operators_names(_operators())))


def _region(home: Home, cloud: str) -> Any:
    operators = _operators()
    if cloud in _operators_names(operators):
        found = operators
    elif cloud == BUNDLED and entry_file(home).is_file():
        found = OpenStackConfig(config_files=[str(entry_file(home))], load_envvars=False)
    elif cloud == BUNDLED:
        raise PipelineError("the bundled image service was never started here", hint="./inv service.start")
    else:
        known = ", ".join(names(home)) or "none"
        raise PipelineError(
            f"there is no cloud named {cloud} (known: {known})",
            hint=f"add it to clouds.yaml; looked at: {_where(home)}",
        )
    try:
        return found.get_one(cloud=cloud)
    except (openstack.exceptions.SDKException, ValueError, TypeError) as error:
        raise PipelineError(f"the entry of cloud {cloud} is not usable: {_first_line(error)}") from None


def _operators() -> OpenStackConfig:
    try:
        return OpenStackConfig()
    except (openstack.exceptions.SDKException, yaml.YAMLError, OSError) as error:
        raise PipelineError(f"clouds.yaml cannot be read: {_first_line(error)}") from None


def _operators_names(config: OpenStackConfig) -> list[str]:
    # With no file at all openstacksdk invents a cloud named "defaults".
    return [name for name in config.get_cloud_names() if name != "defaults"]


def _where(home: Home) -> str:
    operators = _operators().config_filename
    return " and ".join(str(location) for location in (operators, entry_file(home)) if location)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
