"""Answer ``/v2/info/…``: what this service offers, and what the caller's project uses of it."""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.context import caller_of
from pipeline.imageservice.api.resource import GetOnly, Resource, answer_json, refuse_body
from pipeline.imageservice.importing.job import conversion
from pipeline.imageservice.lifecycle.statistics import limits_of


class ImportInfo(Resource):
    """``GET /v2/info/import``: the ways of importing data."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the names of the enabled methods, and with what is done to disks on their way."""
        refuse_body(req)
        caller_of(req)
        methods = list(self.service.import_methods)
        answer_json(
            resp,
            {
                "import-methods": {"description": "Import methods available.", "type": "array", "value": methods},
                "import-conversion": {
                    "description": "The disk format that images get which are imported to these stores only.",
                    "type": "object",
                    "value": conversion.by_store(self.service),
                },
            },
        )


class UsageInfo(GetOnly):
    """``GET /v2/info/usage``: the limits of the caller's project, and how much of them is used."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with usage and limit by name; nothing where there are no limits."""
        refuse_body(req)
        found = limits_of(self.service, caller_of(req))
        document = {name: {"limit": use.limit, "usage": use.used} for name, use in found.items()}
        answer_json(resp, {"usage": document})
