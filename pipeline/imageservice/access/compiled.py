"""Compile oslo.policy's check trees into plain functions.

oslo.policy reads operators' files and parses their rules; evaluating its trees costs some 20 µs per node (it inspects
each check's signature each time), which would be a third of a small request. The functions made here decide the same,
which a test holds against oslo.policy itself; a kind of check that is not known here is left to oslo.policy.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from oslo_policy import _checks as checks
from oslo_policy.policy import Enforcer

PolicyTarget = Mapping[str, Any]
Credentials = dict[str, Any]
Decision = Callable[[PolicyTarget, Credentials], bool]


def compile_rules(enforcer: Enforcer) -> dict[str, Decision]:
    """Return a function for each rule the enforcer holds now."""
    decisions: dict[str, Decision] = {}
    for name, check in enforcer.rules.items():
        decisions[name] = _compile(check, name, enforcer, decisions)
    return decisions


def _compile(check: Any, name: str, enforcer: Enforcer, decisions: dict[str, Decision]) -> Decision:
    kind = type(check)
    if kind is checks.TrueCheck:
        return lambda target, credentials: True
    if kind is checks.FalseCheck:
        return lambda target, credentials: False
    if kind is checks.NotCheck:
        inner = _compile(check.rule, name, enforcer, decisions)
        return lambda target, credentials: not inner(target, credentials)
    if kind in (checks.AndCheck, checks.OrCheck):
        parts = [_compile(rule, name, enforcer, decisions) for rule in check.rules]
        return _all(parts) if kind is checks.AndCheck else _any(parts)
    if kind is checks.RuleCheck:
        return _rule(check.match, decisions)
    if kind is checks.RoleCheck:
        return _role(check.match)
    if kind is checks.GenericCheck:
        return _generic(check.kind, check.match)
    return lambda target, credentials: bool(checks._check(check, target, credentials, enforcer, name))


def _all(parts: list[Decision]) -> Decision:
    def decide(target: PolicyTarget, credentials: Credentials) -> bool:
        for part in parts:  # noqa: SIM110 - a generator would cost more than the parts
            if not part(target, credentials):
                return False
        return True

    return decide


def _any(parts: list[Decision]) -> Decision:
    def decide(target: PolicyTarget, credentials: Credentials) -> bool:
        for part in parts:  # noqa: SIM110 - a generator would cost more than the parts
            if part(target, credentials):
                return True
        return False

    return decide


def _rule(name: str, decisions: dict[str, Decision]) -> Decision:
    def decide(target: PolicyTarget, credentials: Credentials) -> bool:
        decision = decisions.get(name)
        return decision is not None and decision(target, credentials)

    return decide


def _role(match: str) -> Decision:
    fixed = None if "%" in match else match.lower()

    def decide(target: PolicyTarget, credentials: Credentials) -> bool:
        try:
            role = fixed if fixed is not None else (match % target).lower()
        except KeyError:
            return False
        return role in credentials["roles"]

    return decide


def _generic(kind: str, match: str) -> Decision:
    try:
        literal = str(ast.literal_eval(kind))
    except ValueError:
        path = kind.split(".")
        return lambda target, credentials: _filled(match, target, lambda text: _is_at(credentials, path, text))
    return lambda target, credentials: _filled(match, target, lambda text: text == literal)


def _filled(match: str, target: PolicyTarget, decide: Callable[[str], bool]) -> bool:
    try:
        return decide(match % target)
    except KeyError:
        return False


def _is_at(value: Any, path: list[str], text: str) -> bool:
    if not path:
        return text == str(value)
    try:
        value = value[path[0]]
    except KeyError:
        return False
    if isinstance(value, list):
        return any(_is_at(item, path[1:], text) for item in value)
    return _is_at(value, path[1:], text)
