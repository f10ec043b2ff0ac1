"""A step that signs in a worker of the engine, and writes a word that it must not show into its log.

It stands in a module: the code of a step is part of its key.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pipeline.signing.keys.keyring import Keyring
from pipeline.steps.step import Context
from tests.integration.engine import light


class Signing(light.Install):
    """Signs with the key ``release``."""

    def work(self, context: Context) -> Mapping[str, Any]:
        made = Keyring(context.home).signer("release").sign_message(b"x")
        context.log.write(b"typed: %s" % sys.argv[2].encode())
        return {**super().work(context), "signature": made.hex()}
