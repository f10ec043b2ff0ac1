"""Ask the inspectors of ``oslo_utils`` what they leave open, so that no image can make them stumble."""

from __future__ import annotations

import contextlib

from oslo_utils.imageutils import format_inspector as oslo


def matches(inspector: oslo.FileInspector) -> bool:
    """Return whether the inspector recognises its format."""
    # A parser that stumbles over its own attributes did not recognise anything.
    with contextlib.suppress(Exception):
        return bool(inspector.format_match)
    return False


def only_waits_for_the_end(inspector: oslo.FileInspector) -> bool:
    """Return whether nothing but the stream's end can still change the inspector's mind."""
    if inspector.NAME == "luks":  # its size is counted, not written in its header
        return False
    regions = [inspector.region(name) for name in inspector.context_info]
    return all(region.complete or isinstance(region, oslo.EndCaptureRegion) for region in regions)
