"""The pages about the service say what the service does."""

from __future__ import annotations

import re

import pytest
from pydantic import BaseModel

from pipeline.base.home import CHECKOUT
from pipeline.imageservice import settings_reference
from pipeline.imageservice.catalog.quotas import QuotaResource
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.settings_reference import _inner

DOCS = CHECKOUT / "docs"
TOP = set(Settings.model_fields)


def test_the_reference_is_up_to_date() -> None:
    assert (DOCS / settings_reference.FILE).read_text() == settings_reference.reference(), "run ./inv schema"


def test_the_reference_links_only_to_what_is_there() -> None:
    text = settings_reference.reference()
    headings = {
        line.removeprefix("## ").lower().replace(" ", "-") for line in text.splitlines() if line.startswith("## ")
    }
    assert set(re.findall(r"\]\(#([a-z0-9-]+)\)", text)) <= headings


def _cited() -> list[str]:
    """Names in the right-hand column of the tables that begin like a setting of ours."""
    rows = [line.split("|")[2] for line in (DOCS / "from-glance.md").read_text().splitlines() if line.startswith("| ")]
    names = {name for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}
    return sorted(name for name in names if name.partition(".")[0] in TOP)


# What the operators' guides set, of any release, and what they leave running beside the service.
GUIDES = (
    *("GlanceDiskFormats", "GlanceImageImportPlugins", "GlanceCacheEnabled", "GlanceApiPolicies"),
    *("glance::cache::pruner::minute", "glance_cache_pruner", "glance::config::glance_api_config"),
    *("cache_prefetcher_interval", "glance-cache-manage", "image_cache_dir", "flavor"),
    *("debug", "log_file", "sql_connection", "connection", "default_store", "default_backend", "stores"),
    *("enabled_import_methods", "image_import_plugins", "output_format", "disk_formats", "policy_file"),
    *("delayed_delete", "scrub_time", "wakeup_time", "glance-scrubber.conf", "glance-registry.conf", "registry_host"),
)


@pytest.mark.parametrize("name", GUIDES)
def test_every_parameter_of_the_guides_has_its_line(name: str) -> None:
    rows = [
        line.split("|")[1:3] for line in (DOCS / "from-glance.md").read_text().splitlines() if line.startswith("| ")
    ]
    found = [here for named, here in rows if re.search(rf"(`|\] ){re.escape(name)}`", named)]
    assert found
    assert all(here.strip() for here in found)


@pytest.mark.parametrize("name", _cited())
def test_settings_named_for_those_who_move_exist(name: str) -> None:
    models: list[type[BaseModel]] = [Settings]
    for part in name.split("."):
        known = [one for model in models for one in model.model_fields.items()]
        fields = [field for name_, field in known if part in (name_, field.alias)]
        assert fields, f"{name}: there is no {part}"
        models = [inner for field in fields for inner in _inner(field.annotation)]


def test_enough_is_named() -> None:
    assert len(_cited()) > 35


def _options(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[str]:
    if model in seen:
        return set()
    seen.add(model)
    names = set(model.model_fields)
    for field in model.model_fields.values():
        for inner in _inner(field.annotation):
            names |= _options(inner, seen)
    return names


def test_no_option_is_without_effect() -> None:
    """Every documented option is read somewhere, other than where it is described."""
    files = list((CHECKOUT / "pipeline").rglob("*.py"))
    described = "".join(path.read_text() for path in files if path.name.endswith("options.py"))
    code = "".join(path.read_text() for path in files if not path.name.endswith("options.py"))
    names = _options(Settings, set()) - {str(resource) for resource in QuotaResource}  # those are read by their enum
    unread = {
        name
        for name in names
        if not re.search(rf"\.{name}\b", code) and not re.search(rf'\bself\.{name}\b|"{name}"', described)
    }
    assert unread == set()
