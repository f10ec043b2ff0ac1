"""Read policy files: rules by name, as oslo.policy has them, or as an environment file of the deployment tool has them.

Such a file holds ``GlanceApiPolicies``, alone or in ``parameter_defaults``: entries of a ``key`` and its ``value``.
"""

from __future__ import annotations

from typing import Any

import yaml
from oslo_policy import _cache_handler
from oslo_policy import policy as oslo_policy

_PARAMETER = "GlanceApiPolicies"


class Enforcer(oslo_policy.Enforcer):  # type: ignore[misc]  # the library has no types
    """Holds the rules of files of both kinds, and reads them again when they change."""

    def _load_policy_file(self, path: str, force_reload: bool, overwrite: bool = True) -> bool:
        fresh, data = _cache_handler.read_cached_file(self._file_cache, path, force_reload=force_reload)
        if not fresh and self.rules:
            return False
        text = rules_text(data)
        self.set_rules(oslo_policy.Rules.load(text, self.default_rule), overwrite=overwrite, use_conf=True)
        self._record_file_rules(text, overwrite)
        return True


def rules_text(text: str) -> str:
    """Return the YAML of a policy file as oslo.policy reads it. Raises ``ValueError`` saying what is wrong."""
    if _PARAMETER not in text:
        return text
    try:
        # The guide indents with tabs, which YAML does not know.
        document = yaml.safe_load(text.expandtabs(4))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    found = _parameter(document)
    if found is None:
        return text
    if not isinstance(found, dict):
        raise ValueError(f"{_PARAMETER} is no mapping of entries {{key: …, value: …}}")
    return yaml.safe_dump(dict(_rule(name, entry) for name, entry in found.items()))


def _parameter(document: Any) -> Any:
    if not isinstance(document, dict):
        return None
    inside = document.get("parameter_defaults")
    return inside.get(_PARAMETER) if isinstance(inside, dict) else document.get(_PARAMETER)


def _rule(name: Any, entry: Any) -> tuple[str, str]:
    key, value = (entry.get("key"), entry.get("value")) if isinstance(entry, dict) else (None, None)
    if not isinstance(key, str) or not isinstance(value, str):
        raise ValueError(f"{_PARAMETER}: {str(name)[:80]} is not {{key: rule's name, value: rule}}")
    return key, value
