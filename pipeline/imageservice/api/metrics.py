"""Answer ``GET /metrics``: what Prometheus asks for, summed over all processes of the service.

Each process counts in files of a common folder (prometheus_client's multiprocess mode), so whichever process answers
knows the counts of all, those of processes that have ended too.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import Any

import falcon

from pipeline.imageservice.api.http.client_address import ClientAddress, ClientAddresses, is_in
from pipeline.imageservice.api.resource import Resource, refuse_body
from pipeline.imageservice.errors import NotFound
from pipeline.imageservice.lifecycle.statistics import count_all
from pipeline.imageservice.service import Service

_LOCAL = ipaddress.IPv4Address("127.0.0.1")
# Seconds; uploads and downloads are among them.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)


class Metrics:
    """The counters of this process. ``folder``: shared by all processes; ``None`` for one process alone."""

    def __init__(self, folder: Path | None) -> None:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            # prometheus_client decides by this, when it is imported, where its values live.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        import prometheus_client as prometheus

        self._prometheus = prometheus
        self._folder = folder
        self.registry = prometheus.CollectorRegistry()
        self.requests = prometheus.Counter(
            "image_service_requests",
            "Requests by method, path and status.",
            ["method", "path", "status"],
            registry=self.registry,
        )
        self.seconds = prometheus.Histogram(
            "image_service_request_seconds",
            "Time until the answer's head was ready, which for an upload is its end.",
            ["method", "path"],
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def count(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self.requests.labels(method, path, str(status)).inc()
        self.seconds.labels(method, path).observe(seconds)

    def exposition(self) -> bytes:
        """Return the counts of all processes as text."""
        registry = self.registry
        if self._folder is not None:
            from prometheus_client.multiprocess import MultiProcessCollector

            registry = self._prometheus.CollectorRegistry()
            MultiProcessCollector(registry, path=str(self._folder))  # type: ignore[no-untyped-call]
        return bytes(self._prometheus.generate_latest(registry))


class MetricsPage(Resource):
    """The page itself, for the addresses that may see it."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        super().__init__(service)
        self._metrics = metrics
        self._networks = [ipaddress.ip_network(text) for text in service.settings.api.metrics_networks]
        self._addresses = ClientAddresses(service.settings.server.trusted_proxies)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the counts, and what the catalog holds now."""
        refuse_body(req)
        if not self._is_allowed(self._addresses.of(req.env)):
            raise NotFound("The resource could not be found.")
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = self._metrics.exposition() + _catalog_numbers(self.service)

    def _is_allowed(self, client: ClientAddress) -> bool:
        """Whether the client may see the numbers; never where a stranger's proxy is in between, or nobody knows who."""
        if client.direct:
            address = client.peer or _LOCAL  # no address: a local socket
            return is_in(address, self._networks)
        return client.trusted and client.address is not None and is_in(client.address, self._networks)


def _catalog_numbers(service: Service) -> bytes:
    totals, slots = count_all(service), service.slots.use()
    lines = [
        *_gauge("images", "Images that are not deleted.", {"": totals.images}),
        *_gauge("images_receiving", "Images whose data is on its way.", {"": totals.receiving}),
        *_gauge("stored_bytes", "Bytes in all stores, each copy counted.", {"": totals.stored}),
        *_gauge(
            "tasks",
            "Tasks that are not over.",
            {f'{{status="{status}"}}': count for status, count in totals.tasks.items()},
        ),
        *_gauge(
            "slots_in_use",
            "Slots of this node that are in use.",
            {f'{{kind="{kind}"}}': use.used for kind, use in slots.items()},
        ),
        *_gauge(
            "slots_waiting",
            "Requests on this node that wait for a slot.",
            {f'{{kind="{kind}"}}': use.waiting for kind, use in slots.items()},
        ),
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _gauge(name: str, text: str, values: dict[str, Any]) -> list[str]:
    full = f"image_service_{name}"
    return [
        f"# HELP {full} {text}",
        f"# TYPE {full} gauge",
        *(f"{full}{label} {value}" for label, value in values.items()),
    ]
