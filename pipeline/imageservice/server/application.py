"""Configure the HTTP server: gunicorn with our worker and what our settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http import message

from pipeline.imageservice.server.logs import OneLine
from pipeline.imageservice.server.options import ServerOptions
from pipeline.imageservice.server.refusals import LONGEST_LINE
from pipeline.imageservice.server.worker import ImageWorker, pool_size

_GRACE = 30  # seconds the arbiter waits longer than its workers


class ImageApplication(BaseApplication):  # type: ignore[misc]
    """Runs the WSGI application that ``make`` makes, once in each process."""

    def __init__(
        self,
        address: tuple[str, int],
        options: ServerOptions,
        make: Callable[[], Any],
        *,
        log_level: str = "info",
        hooks: Mapping[str, Callable[..., None]] | None = None,
    ) -> None:
        self._address = address
        self.options = options
        self._make = make
        self._log_level = log_level
        self._hooks = dict(hooks or {})
        super().__init__()

    def load_config(self) -> None:
        """See gunicorn."""
        options = self.options
        host, port = self._address
        settings: dict[str, Any] = {
            "bind": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            "worker_class": ImageWorker,
            "workers": options.processes,
            "threads": pool_size(options),
            "worker_connections": 2 * (pool_size(options) + options.request_threads) + 1000,
            "backlog": 1024,
            "keepalive": int(options.keep_alive),
            "timeout": 300,  # of a process whose event loop is stuck; requests have limits of their own
            "graceful_timeout": int(options.stop_timeout) + _GRACE,
            "forwarded_allow_ips": ",".join(options.trusted_proxies),
            "proc_name": "image-service",
            "logger_class": _Lines,
            "loglevel": "info" if self._log_level == "debug" else self._log_level,  # it would log its whole settings
            "limit_request_field_size": 16380,
            "limit_request_line": LONGEST_LINE,
            "header_map": "dangerous",  # the worker sorts them out
            "control_socket_disable": True,
            **self._hooks,
        }
        if options.tls is not None:
            settings |= {"certfile": str(options.tls.certificate), "keyfile": str(options.tls.key)}
        # gunicorn takes what is more than this for this.
        message.MAX_REQUEST_LINE = LONGEST_LINE + 1
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """See gunicorn."""
        return self._make()


class _Lines(Logger):  # type: ignore[misc]
    """Has gunicorn's own lines, which go past our log, formatted as those of ours."""

    def setup(self, cfg: Any) -> None:
        """See gunicorn."""
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(OneLine(self.error_fmt, self.datefmt))
