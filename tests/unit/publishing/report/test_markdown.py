"""The report as Markdown, with what a cloud says in it."""

from __future__ import annotations

from typing import Any

from pipeline.publishing.report import markdown

LINK = "1`[click](https://evil.example)`"


def night(image: dict[str, Any], **cloud: Any) -> dict[str, Any]:
    """A night in which one image was published to one cloud."""
    part = {"part": "disk", "outcome": "published", "image": image, "waiting": []}
    shown = {"cloud": "one", "outcome": "published", "seconds": 1.0, "error": None, "images": [part]}
    shown |= {"held": [], "strangers": [], "remarks": [], **cloud}
    build = {"outcome": "built", "seconds": 1.0, "why": [], "error": None}
    recipe = {"name": "tiny", "build": build, "made_from": [], "clouds": [shown], "differences": []}
    head = {"began": "2026-12-01T00:00:00Z", "seconds": 2.0, "run": "r1", "verdict": "1 published", "notes": []}
    return {**head, "recipes": [recipe], "rotation": []}


def test_what_a_cloud_calls_an_image_is_no_markdown() -> None:
    image = {"id": LINK, "name": LINK, "size": 1, "sha512": LINK}
    text = markdown.text(night(image, remarks=[LINK], held=[LINK]))
    assert "- one: published `1'[click](https://evil.example)'`, sha512 `1'[click](https://evil.example)'`\n" in text
    assert "[click](" not in text.replace("'[click](https://evil.example)'", "")


def test_without_a_digest_there_is_none() -> None:
    image = {"id": "5f7c", "name": "tiny", "size": 1, "sha512": None}
    assert "published `5f7c`, sha512 –\n" in markdown.text(night(image))
