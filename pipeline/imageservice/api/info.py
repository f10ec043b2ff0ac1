"""``/v2/info/…``: what this service offers, and what the caller's project uses of it."""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.context import caller_of
from pipeline.imageservice.api.resource import GetOnly, Resource, answer_json, refuse_body
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.quotas import Resource as Limited


class ImportInfo(Resource):
    """``GET /v2/info/import``: the ways of importing data."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """The names of the enabled methods."""
        refuse_body(req)
        caller_of(req)
        methods = list(self.service.import_methods)
        answer_json(
            resp,
            {"import-methods": {"description": "Import methods available.", "type": "array", "value": methods}},
        )


class UsageInfo(GetOnly):
    """``GET /v2/info/usage``: the limits of the caller's project, and how much of them is used."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Usage and limit by name; nothing where there are no limits."""
        refuse_body(req)
        caller = caller_of(req)
        document: dict[str, dict[str, int]] = {}
        if self.service.limits.on:
            limits = self.service.limits.of(caller.project)
            with self.service.database.read() as connection:
                used = quotas.usage(connection, caller.project)
            document = {
                str(resource): {"limit": limits.get(resource, -1), "usage": used.of(resource)} for resource in Limited
            }
        answer_json(resp, {"usage": document})
