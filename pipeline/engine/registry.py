"""All steps, in the order in which they run.

Adding a step means a module in ``pipeline/steps`` and a line here.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.engine.entry import Entry

STEPS: Sequence[Entry] = ()
