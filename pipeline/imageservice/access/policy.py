"""Ask what a caller may do: the rules of oslo.policy, on an image, a member or nothing in particular.

``may`` answers; ``require`` raises. An image that the caller cannot see does not exist for it, so whoever asks about
an image looks it up through ``api/lookup.py``, which makes that a 404; a rule that fails afterwards is a 403.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo_policy

from pipeline.base.errors import PipelineError
from pipeline.imageservice.access import rules
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.compiled import Decision, compile_rules
from pipeline.imageservice.access.policy_files import Enforcer
from pipeline.imageservice.errors import Forbidden
from pipeline.imageservice.model.images import Image

_SECONDS_BETWEEN_LOOKS = 2.0
_NO_FILE = "/dev/null/none"  # oslo.policy wants a name, and would look for its own default otherwise
_FIELDS = frozenset(field.name for field in dataclasses.fields(Image)) - {"locations", "properties", "service"}


class ImageTarget(Mapping[str, Any]):
    """An image as rules see it: its base fields, ``project_id`` for its owner, and its custom properties."""

    def __init__(self, image: Image, **more: Any) -> None:
        self._image = image
        self._more = more

    def __getitem__(self, name: str) -> Any:
        if name in self._more:
            return self._more[name]
        if name == "project_id":
            return self._image.owner
        if name in ("image_id", "id"):
            return self._image.id
        if name in _FIELDS:
            return getattr(self._image, name)
        return self._image.properties[name]

    def __iter__(self) -> Iterator[str]:
        yield from {*self._more, "project_id", "image_id", *_FIELDS, *self._image.properties}

    def __len__(self) -> int:
        return sum(1 for _ in self)


class AccessPolicy:
    """The rules in force. The operator's file is read again when it changes."""

    def __init__(self, file: Path | None = None, folders: tuple[Path, ...] = ()) -> None:
        if file is not None and not file.is_file():
            raise PipelineError(f"policy.file: there is no file {file}", hint="correct policy.file in the settings")
        conf = cfg.ConfigOpts()
        conf([], project="image-service", default_config_files=[], default_config_dirs=[])
        self._enforcer = Enforcer(conf, policy_file=str(file.resolve() if file else _NO_FILE))
        self._enforcer.suppress_default_change_warnings = True
        conf.set_override("policy_dirs", [str(folder) for folder in folders], group="oslo_policy")
        self._enforcer.register_defaults([oslo_policy.RuleDefault(rule.name, rule.default) for rule in rules.ALL])
        self._lock = threading.Lock()
        self._decisions: dict[str, Decision] = {}
        self._looked_at = 0.0
        self._defaults = {rule.name: str(self._enforcer.registered_rules[rule.name].check) for rule in rules.ALL}
        self._changed: frozenset[str] = frozenset()
        self._load()

    def may(self, caller: Caller, action: str, target: Image | Mapping[str, Any] | None = None) -> bool:
        """Return whether the rule ``action`` lets the caller do this to ``target`` (``None``:
        nothing but the caller).
        """
        if not caller.has_project or (caller.read_only and not action.startswith(("get_", "download_", "list_"))):
            return False
        if time.monotonic() - self._looked_at > _SECONDS_BETWEEN_LOOKS:
            self._load()
        decision = self._decisions.get(action)
        if decision is None:
            return False
        seen = ImageTarget(target) if isinstance(target, Image) else (target or {"project_id": caller.project})
        return decision(seen, caller.credentials)

    def require(self, caller: Caller, action: str, target: Image | Mapping[str, Any] | None = None) -> None:
        """Raise ``Forbidden`` unless ``may``."""
        if not self.may(caller, action, target):
            if caller.read_only:
                raise Forbidden("You are not authenticated, which lets you read only (read-only context).")
            raise Forbidden(f"You are not authorized to complete {action} action.")

    def is_default(self, action: str) -> bool:
        """Return whether ``action`` (and the rule for administrators, on which it stands) is what we ship."""
        return action not in self._changed and "context_is_admin" not in self._changed

    def with_admin(self, caller: Caller) -> Caller:
        """Return the caller, marked when the rules call it an administrator."""
        if not caller.has_project or not self.may(caller, "context_is_admin"):
            return caller
        return dataclasses.replace(caller, is_admin=True)

    def evaluate(self, expression: str, caller: Caller, target: Mapping[str, Any]) -> bool:
        """Evaluate a rule that is not registered: its name in the operator's file, or an expression. False when
        unknown.
        """
        decision = self._decisions.get(expression)
        return decision is not None and decision(target, caller.credentials)

    def knows(self, name: str) -> bool:
        """Return whether there is a rule of this name."""
        return name in self._decisions

    def _load(self) -> None:
        with self._lock:
            self._looked_at = time.monotonic()
            before = dict(self._enforcer.rules)
            try:
                self._enforcer.load_rules()
            except Exception as error:
                if self._decisions:
                    raise
                raise PipelineError(f"the policy file cannot be used: {error}") from None
            now = self._enforcer.rules
            if self._decisions and dict(now) == before:
                return
            self._decisions = compile_rules(self._enforcer)
            self._changed = frozenset(name for name, text in self._defaults.items() if str(now[name]) != text)
