"""Policy files of both kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import PipelineError
from pipeline.imageservice.access import policy as access_policy
from pipeline.imageservice.access.policy import AccessPolicy
from pipeline.imageservice.access.policy_files import rules_text

ENVIRONMENT = """
parameter_defaults:
  OtherThing: 1
  GlanceApiPolicies: {
\tglance-one: { key: 'get_image', value: 'role:admin' },
\tglance-two: { key: 'metadef_default', value: '' }
  }
"""


def test_an_environment_file_is_its_rules() -> None:
    assert yaml.safe_load(rules_text(ENVIRONMENT)) == {"get_image": "role:admin", "metadef_default": ""}


@pytest.mark.parametrize("text", ["get_image: role:admin\n", "", '{"get_image": ""}', "# GlanceApiPolicies\na: b\n"])
def test_rules_by_name_stay(text: str) -> None:
    assert rules_text(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GlanceApiPolicies: [1]", "no mapping"),
        ("GlanceApiPolicies: {a: {key: x}}", "a is not {key"),
        ("GlanceApiPolicies: {a: role:admin}", "a is not {key"),
        ("GlanceApiPolicies: {a: {key: [x], value: y}}", "a is not {key"),
        ("GlanceApiPolicies: {", "expected"),
    ],
)
def test_what_is_wrong_with_it_is_said(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "environment.yaml"
    file.write_text(text)
    with pytest.raises(PipelineError, match=rf"(?s)the policy file cannot be used: .*{said}"):
        AccessPolicy(file)


def test_a_changed_environment_file_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_policy, "_SECONDS_BETWEEN_LOOKS", -1.0)
    file = tmp_path / "environment.yaml"
    file.write_text(ENVIRONMENT)
    policy = AccessPolicy(file)
    assert not policy.is_default("get_image")
    file.write_text("GlanceApiPolicies: {a: {key: get_images, value: '!'}}")
    os.utime(file, (2**31, 2**31))
    policy.knows("get_image")
    policy._load()
    assert policy.is_default("get_image")
    assert not policy.is_default("get_images")
