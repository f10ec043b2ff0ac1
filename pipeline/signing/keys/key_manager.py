"""Store and fetch certificates in a cloud's key manager (Barbican) as Nova and Glance do: with castellan.

Whoever uploads or boots a signed image needs the right to read its certificate there.
"""

from __future__ import annotations

from typing import Any

import castellan.options
from castellan import key_manager
from castellan.common import exception
from castellan.common.objects import x_509
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from oslo_config import cfg
from oslo_context.context import RequestContext

from pipeline.base.errors import PipelineError
from pipeline.signing.trust.certificates import CertificateMissing, parse


class _Context(RequestContext):  # type: ignore[misc]  # oslo's packages carry no types
    """A caller whose session is there already."""

    def __init__(self, auth: Any, project: str | None) -> None:
        super().__init__(project_id=project)
        self._auth = auth

    def get_auth_plugin(self) -> Any:
        """Return what castellan asks for."""
        return self._auth


class KeyManager:
    """The key manager of one cloud, as one caller sees it.

    ``auth`` is a keystoneauth plugin (``connection.session.auth`` of openstacksdk), ``endpoint`` the key manager's URL
    without a version; without it, the catalogue says.
    """

    def __init__(self, auth: Any, *, project: str | None = None, endpoint: str | None = None) -> None:
        conf = cfg.ConfigOpts()
        conf([], project="castellan", default_config_files=[])
        castellan.options.set_defaults(conf, backend="barbican", barbican_endpoint=endpoint)
        self._manager = key_manager.API(conf)
        self._context = _Context(auth, project)

    def get(self, identity: str) -> x509.Certificate:
        """Return the certificate under ``identity``. Raises ``CertificateMissing``."""
        try:
            found = self._manager.get(self._context, identity)
            if found.format != "X.509":
                raise CertificateMissing(f"the key manager has a {found.format} under {identity}, no certificate")
            data = found.get_encoded()
        except (exception.CastellanException, ValueError, TypeError, AttributeError) as error:
            raise CertificateMissing(
                f"the key manager has no certificate {identity} for this user: {_first_line(error)}",
                hint="give this project read access to the secret (its ACL)",
            ) from None
        return parse(bytes(data), name=identity)

    def store(self, certificate: x509.Certificate, name: str) -> str:
        """Keep a certificate there; return the id it got. Raises ``PipelineError``."""
        held = x_509.X509(certificate.public_bytes(serialization.Encoding.DER), name=name)
        try:
            identity = str(self._manager.store(self._context, held))
        except exception.CastellanException as error:
            raise PipelineError(
                f"the key manager did not take the certificate: {_first_line(error)}",
                hint="the user needs the role creator there",
            ) from None
        return identity.rpartition("/")[2]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
