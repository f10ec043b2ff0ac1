"""Our evaluation of rules beside oslo.policy's own."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_policy import policy as oslo_policy

from pipeline.imageservice.access import rules
from pipeline.imageservice.access.caller import Caller, with_implied
from pipeline.imageservice.access.compiled import compile_rules
from pipeline.imageservice.access.policy import AccessPolicy

_ROLES = ["admin", "member", "reader", "service", "odd"]
_ATOMS = [
    "@",
    "!",
    "role:member",
    "role:Odd",
    "role:%(level)s",
    "rule:base",
    "rule:missing",
    "project_id:%(owner)s",
    "project_id:%(missing)s",
    "'public':%(visibility)s",
    '"public":%(visibility)s',
    "None:%(owner)s",
    "True:%(protected)s",
    "service_roles:service",
    "user_id:u1",
    "domain_id:%(owner)s",
    "nothing:%(owner)s",
]


def _expressions() -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(_ATOMS),
        lambda inner: st.one_of(
            st.builds("not {}".format, inner.map("({})".format)),
            st.builds("({} and {})".format, inner, inner),
            st.builds("({} or {})".format, inner, inner),
        ),
        max_leaves=6,
    )


@given(
    expression=_expressions(),
    roles=st.sets(st.sampled_from(_ROLES)),
    service_roles=st.sets(st.sampled_from(["service"])),
    owner=st.sampled_from(["p1", "p2", None]),
    visibility=st.sampled_from(["public", "private"]),
)
def test_compiled_rules_decide_as_oslo_policy_does(
    expression: str, roles: set[str], service_roles: set[str], owner: str | None, visibility: str
) -> None:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    enforcer = oslo_policy.Enforcer(conf, policy_file="/dev/null/none")
    enforcer.register_defaults(
        [oslo_policy.RuleDefault("base", "role:reader"), oslo_policy.RuleDefault("it", expression)]
    )
    enforcer.load_rules()
    caller = Caller("p1", "u1", frozenset(roles), frozenset(service_roles))
    target: dict[str, Any] = {"owner": owner, "visibility": visibility, "protected": True, "level": "odd"}
    ours = compile_rules(enforcer)["it"](target, caller.credentials)
    assert ours is bool(enforcer.enforce("it", target, caller.credentials))


def test_the_defaults_decide_as_oslo_policy_does() -> None:
    policy = AccessPolicy()
    for rule in rules.ALL:
        for roles in (["admin"], ["member"], ["reader"], ["service"], []):
            caller = policy.with_admin(Caller("p1", "u1", with_implied(roles)))
            for owner in ("p1", "p2", None):
                target = {"project_id": owner, "owner": owner, "visibility": "public", "member_id": "p1"}
                theirs = policy._enforcer.enforce(rule.name, target, caller.credentials)
                assert policy.may(caller, rule.name, target) is bool(theirs), (rule.name, roles, owner)


def test_tokens_for_no_project_may_nothing() -> None:
    policy = AccessPolicy()
    admin = with_implied(["admin"])
    for caller in (Caller(None, "u", admin, system_scope="all"), Caller(None, "u", admin, domain="d")):
        assert not policy.with_admin(caller).is_admin
        assert not any(policy.may(caller, rule.name) for rule in rules.ALL)


def test_who_only_reads_may_not_write() -> None:
    policy = AccessPolicy()
    caller = Caller(None, roles=frozenset({"reader", "member", "admin"}), read_only=True)
    allowed = {
        rule.name
        for rule in rules.IMAGES
        if policy.may(caller, rule.name, {"project_id": None, "visibility": "public"})
    }
    assert allowed <= {"get_image", "get_images", "download_image", "download_from_store"}


def test_roles_imply_lesser_ones() -> None:
    assert with_implied(["Admin"]) == {"admin", "member", "reader"}
    assert with_implied([" member ", ""]) == {"member", "reader"}
    assert with_implied(["service"]) == {"service"}
