"""A real browser without a screen, driven by the WebDriver protocol: pages as people see them, and what they log."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.environments.daemon import daemon, free_port, listens, program, scratch

_QUIET = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@dataclass(frozen=True)
class Browser:
    """A browser with one page. ``address`` is its WebDriver session's."""

    address: str

    def open(self, url: str) -> None:
        """Go to ``url`` and wait until it has loaded."""
        self._post("url", {"url": url})

    def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a screen of this size, whose user likes it light or dark."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", {"features": [scheme]})

    def run(self, script: str, *arguments: Any) -> Any:
        """What ``script``, the body of a JavaScript function, returns."""
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def screenshot(self, *, whole: bool = False) -> bytes:
        """The screen as PNG; with ``whole``, all of the page."""
        shot = self._cdp("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        return base64.b64decode(shot["data"])

    def complaints(self) -> list[str]:
        """What the console got since it was asked last: errors and warnings."""
        entries = self._post("se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def _cdp(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._post("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, command: str, body: dict[str, Any]) -> Any:
        answer = requests.post(f"{self.address}/{command}", json=body, timeout=60).json()
        if isinstance(answer["value"], dict) and "error" in answer["value"]:
            raise AssertionError(f"{command}: {answer['value']['message']}")
        return answer["value"]


@contextlib.contextmanager
def browser(extra: Sequence[str] = ()) -> Iterator[Browser]:
    """Run Chromium; ready in about two seconds."""
    driver = program("chromedriver", "chromium-driver")
    chromium = program("chromium", "chromium")
    with scratch("browser") as folder:
        port = free_port()
        # Chromium refuses its own sandbox to root.
        options = [
            *_QUIET,
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            f"--user-data-dir={folder}/profile",
            *extra,
        ]
        with daemon(
            [driver, f"--port={port}"], ready=lambda: listens(port), log=folder / "log", env={"HOME": str(folder)}
        ):
            wanted: dict[str, Any] = {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": str(chromium), "args": options},
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            root = f"http://127.0.0.1:{port}/session"
            made = requests.post(root, json={"capabilities": {"alwaysMatch": wanted}}, timeout=60).json()["value"]
            if "sessionId" not in made:
                raise AssertionError(f"Chromium did not start: {made.get('message')}")
            session = f"{root}/{made['sessionId']}"
            try:
                yield Browser(session)
            finally:
                requests.delete(session, timeout=30)


def save(picture: bytes, target: Path) -> None:
    """Keep a screenshot for people to look at."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(picture)
