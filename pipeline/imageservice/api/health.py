"""Answer ``GET /healthcheck``: whether a load balancer should send requests here."""

from __future__ import annotations

import threading
import time

import falcon

from pipeline.imageservice.api.resource import Resource, answer_json
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.service import Service

_SECONDS = 5.0  # how long a result holds: checks must not become a load of their own


class Health(Resource):
    """``OK``, or 503 and what is wrong: the operator's own mark, the database, a store."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._lock = threading.Lock()
        self._checked = 0.0
        self._found: dict[str, str] = {}

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """In words, or as JSON for those who ask for it."""
        found = self._results()
        failing = {name: result for name, result in found.items() if result != "OK" and self._counts(name)}
        status = 503 if failing else 200
        if "json" in (req.get_header("Accept") or ""):
            answer_json(resp, {"status": "FAILED" if failing else "OK", "checks": found}, status)
            return
        resp.status = status
        resp.content_type = "text/plain; charset=UTF-8"
        resp.data = "\n".join(f"{name}: {result}" for name, result in failing.items()).encode() if failing else b"OK"

    on_head = on_get

    def _results(self) -> dict[str, str]:
        mark = self.service.settings.api.disable_file
        if mark is not None and self.service.settings.inside(mark).exists():
            return {"operator": "disabled by file"}
        with self._lock:
            if time.monotonic() - self._checked > _SECONDS:
                stores = {f"store {name}": fault or "OK" for name, fault in self.service.health.faults().items()}
                self._found = {"database": self._try_database(), **stores}
                self._checked = time.monotonic()
            return self._found

    def _counts(self, name: str) -> bool:
        """Whether a failure of this part takes the node out: that of some stores leaves much to do."""
        which = self.service.settings.api.healthcheck_stores
        if not name.startswith("store "):
            return True
        return which == "all" or (which == "default" and name == f"store {self.service.stores.default.id}")

    def _try_database(self) -> str:
        try:
            self.service.check_database()
        except ServiceError as error:
            return error.message
        return "OK"
