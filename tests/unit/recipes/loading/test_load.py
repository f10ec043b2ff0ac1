"""Inheritance, variables, matrix; all mistakes at once with their places; hostile recipes."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe

BASE = """
os: {type: linux, distro: debian, version: "12", admin_user: debian}
disk: {size: 2GiB}
install: {method: tiny}
products:
  - {format: qcow2, compression: zlib}
"""


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("base/linux", BASE)

    def write(self, name: str, text: str) -> None:
        file = self.root / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    def one(self, text: str, **overrides: str) -> Recipe:
        self.write("r", text)
        (recipe,) = RecipeFolder(self.root).load("r", overrides)
        return recipe

    def mistakes(self, text: str, **overrides: str) -> list[str]:
        self.write("r", text)
        with pytest.raises(PipelineError) as caught:
            RecipeFolder(self.root).load("r", overrides)
        lines = caught.value.details or [caught.value.message]
        return [line.removeprefix(f"{self.root}/") for line in lines]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_the_name_is_the_files_name(folder: Folder) -> None:
    assert folder.one("extends: base/linux").name == "r"


def test_maps_merge_and_lists_replace(folder: Folder) -> None:
    folder.write("mid", "extends: base/linux\ncustomize: {hostname: a, timezone: UTC, packages: [x, y]}\n")
    recipe = folder.one("extends: mid\ncustomize: {hostname: b, packages: [z]}\n")
    assert recipe.customize.hostname == "b"
    assert recipe.customize.timezone == "UTC"
    assert recipe.customize.packages == ("z",)


def test_plus_appends(folder: Folder) -> None:
    folder.write("mid", "extends: base/linux\ncustomize: {packages: [x]}\n")
    folder.write("top", "extends: mid\ncustomize: {+packages: [y]}\n")
    assert folder.one("extends: top\ncustomize: {+packages: [z]}").customize.packages == ("x", "y", "z")


def test_plus_on_nothing_starts_the_list(folder: Folder) -> None:
    assert folder.one("extends: base/linux\ncustomize: {+packages: [z]}").customize.packages == ("z",)


def test_null_removes(folder: Folder) -> None:
    folder.write("mid", "extends: base/linux\ncustomize: {hostname: a}\nboot_test: {timeout: 9s}\n")
    recipe = folder.one("extends: mid\ncustomize: null\nboot_test: {timeout: null}\n")
    assert recipe.customize.hostname is None
    assert recipe.boot_test.timeout == 300


def test_later_parents_win_over_earlier_ones(folder: Folder) -> None:
    folder.write("a", "customize: {hostname: a, timezone: UTC}")
    folder.write("b", "customize: {hostname: b}")
    recipe = folder.one("extends: [base/linux, a, b]")
    assert (recipe.customize.hostname, recipe.customize.timezone) == ("b", "UTC")


def test_another_method_replaces_the_part(folder: Folder) -> None:
    # 'kernel' belongs to the tiny method; the mistake left is only the unknown method itself.
    folder.write("mid", "extends: base/linux\ninstall: {kernel: generic}\n")
    (mistake,) = folder.mistakes("extends: mid\ninstall:\n  method: other\n")
    assert mistake.startswith("r.yaml:2: install: 'other' is not valid; valid: tiny")


def test_a_circle_is_refused(folder: Folder) -> None:
    folder.write("other", "extends: r")
    assert folder.mistakes("extends: other") == ["other.yaml:1: extends: a circle: r → other → r"]


def test_a_mistake_is_told_where_it_was_written(folder: Folder) -> None:
    folder.write("mid", "extends: base/linux\n\ncustomize:\n  hostnam: x\n")
    (mistake,) = folder.mistakes("extends: mid\nsummary: text\n")
    assert mistake.startswith("mid.yaml:4: customize.hostnam: there is no such key; did you mean 'hostname'?")


def test_five_mistakes_are_five_lines(folder: Folder) -> None:
    mistakes = folder.mistakes(
        """\
        extends: base/linux
        summary: 12
        disk:
          size: 10 gigs
        boot_test:
          memory: ${memmory}
          firmware: [bios, eufi]
        properties: {hw_disk_bus: virtio}
        products:
          - {format: qcow2, formt: zlib}
        """
    )
    assert mistakes == [
        "r.yaml:2: summary: this must be text: put it in quotes, because YAML changes bare numbers, dates and yes/no",
        "r.yaml:4: disk.size: a size is a number and a unit: 512B, 64KiB, 64MiB, 10GiB or 1TiB",
        "r.yaml:6: boot_test.memory: there is no variable 'memmory' (known: name); write '$${' for a literal '${'",
        "r.yaml:7: boot_test.firmware[1]: 'eufi' is not valid; did you mean 'uefi'? valid: bios, uefi",
        "r.yaml:10: products[0].formt: there is no such key; did you mean 'format'? valid: format, compression",
    ]


def test_mistakes_of_several_recipes_come_together(folder: Folder) -> None:
    folder.write("a", "extends: base/linux\nsummry: x\n")
    folder.write("b", "extends: base/linux\nsumary: x\n")
    with pytest.raises(PipelineError, match="recipes a, b: 2 mistakes"):
        RecipeFolder(folder.root).load_all(["a", "b"])


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            "products: [{format: raw, compression: zlib}]",
            "products[0]: raw cannot be compressed; leave compression out",
        ),
        ("products: [{format: raw}, {format: raw}]", "products: each format can be made once only"),
        (
            "disk: {size: 3TiB}\nproducts: [{format: vhd}]",
            "products: a vhd holds disks of 2040 GiB at most",
        ),
        ("publish: {format: raw}", "publish: format: raw is not among the products (qcow2)"),
        (
            "properties: {os_type: linux}",
            "properties.os_type: this comes from 'os' and 'architecture'; say it there",
        ),
        ("properties: {hw_disk_buss: virtio}", "properties.hw_disk_buss: no such property is known; did you mean"),
        ("properties: {hw_disk_bus: virtoi}", "properties.hw_disk_bus: 'virtoi' is not one of"),
        ("properties: {hw_disk_bus: scsi}", "properties: hw_scsi_model: hw_disk_bus scsi needs a controller"),
        ("properties: {img_signature: x}", "properties.img_signature: the four signature properties go together"),
        ("os: {distro: debain}", "os.distro: 'debain' is not one of"),
        ("products: []", "products: this needs at least 1"),
        ("disk: {}", "disk.size: this is missing"),
        ("install: {method: null}", "install: this needs the key 'method'"),
        ("customize: {users: [{name: '!x'}]}", "customize.users[0].name: '!x' is not an account's name"),
        ("customize: {ssh_keys: ['-----BEGIN OPENSSH PRIVATE KEY-----']}", "customize.ssh_keys[0]: this is a private"),
        ("customize: {files: [{path: /a/../etc/passwd, content: ''}]}", "customize.files[0].path: a path in the guest"),
        ("customize: {files: [{path: /a}]}", "customize.files[0]: give either content or source"),
        ("customize: {packages: [-x]}", "customize.packages[0]: '-x' is not a package's name"),
        ("boot_test: {vcpus: true}", "boot_test.vcpus: this must be a whole number"),
        ("boot_test: {enabled: 'yes'}", "boot_test.enabled: this must be true or false"),
        ("boot_test: {timeout: 5}", "boot_test.timeout: a duration is a whole number and a unit: 90s, 5m or 2h"),
        ("boot_test: {memory: 1073741824}", "boot_test.memory: a size is a number and a unit: 512B, 64KiB"),
        ("disk: {size: 17TiB}", "disk.size: input should be less than or equal to"),
        ("disk: [1]", "disk: this must be a mapping"),
        ("customize: {packages: a}", "customize.packages: this must be a list"),
        ("customize: {packages: [a], +packages: [b]}", "'packages' and '+packages' together are ambiguous"),
        ("customize: {+hostname: b}", "only lists can be appended to"),
        ("variables: {Big: 1}", "variables.Big: a variable's name is lower case"),
        ("variables: {name: x}", "variables.name: name has its value from the recipe itself"),
        ("variables: {a: [1]}", "variables.a: a variable is text"),
        ("variables: {a: '${b}', b: '${a}'}", "the variables go in a circle: a → b → a"),
        ("summary: '${x'", "summary: '${' is never closed"),
        ("matrix: {a: []}", "matrix.a: give a list"),
        ("matrix: {a: [X/Y]}", "matrix.a: give a list"),
        ("matrix: {a: [1,2,3,4,5,6,7,8,9], b: [1,2,3,4,5,6,7,8,9]}", "matrix: more than 64 combinations"),
        ("matrix: 3", "matrix: this must map variables"),
    ],
)
def test_each_mistake_says_what_and_where(folder: Folder, text: str, mistake: str) -> None:
    lines = text if text.startswith("disk: {}") is False else "disk: {size: null}"
    assert any(mistake in line for line in folder.mistakes(f"extends: base/linux\n{lines}\n")), folder.mistakes(
        f"extends: base/linux\n{lines}\n"
    )


def test_a_name_that_is_nearly_right_is_helped(folder: Folder) -> None:
    folder.write("debian-12", "extends: base/linux\n")
    folder.write("r", "extends: debian12\n")
    with pytest.raises(PipelineError, match=r"r\.yaml:1: extends: there is no .*debian12\.yaml") as caught:
        RecipeFolder(folder.root).load("r")
    assert caught.value.hint == "did you mean debian-12?"


def test_variables_are_put_in_and_keep_their_type(folder: Folder) -> None:
    recipe = folder.one(
        """\
        extends: base/linux
        variables: {cpus: 2, size: 64, memory: "${size}MiB", test: false}
        summary: ${name} with ${cpus} processors, $${HOME}
        boot_test: {vcpus: "${cpus}", memory: "${memory}", enabled: "${test}"}
        """
    )
    assert recipe.summary == "r with 2 processors, ${HOME}"
    assert (recipe.boot_test.vcpus, recipe.boot_test.memory, recipe.boot_test.enabled) == (2, 64 << 20, False)


def test_a_child_overrides_a_parents_variable_before_use(folder: Folder) -> None:
    folder.write("mid", "extends: base/linux\nvariables: {zone: UTC}\ncustomize: {timezone: '${zone}'}\n")
    assert folder.one("extends: mid\nvariables: {zone: Europe/Paris}").customize.timezone == "Europe/Paris"


def test_set_overrides_with_the_declared_type(folder: Folder) -> None:
    text = (
        "extends: base/linux\nvariables: {cpus: 1, who: x, on: true}\nboot_test: {vcpus: '${cpus}'}\nsummary: ${who}\n"
    )
    recipe = folder.one(text, cpus="3", who="${name}", on="false")
    assert recipe.boot_test.vcpus == 3
    assert recipe.summary == "${name}", "a value from the command line is taken as it is"
    assert folder.mistakes(text, cpus="many") == ["--set cpus=many: the variable is a whole number"]
    assert folder.mistakes(text, cpu="1") == [
        "--set cpu=…: the recipe has no variable of that name (it has: cpus, on, who)"
    ]


def test_true_cannot_stand_inside_text(folder: Folder) -> None:
    (mistake,) = folder.mistakes("extends: base/linux\nvariables: {on: true}\nsummary: is ${on}\n")
    assert "cannot stand inside text" in mistake


def test_variables_cannot_blow_up(folder: Folder) -> None:
    doubling = "\n".join(f"  v{i}: '${{v{i + 1}}}${{v{i + 1}}}'" for i in range(40))
    mistakes = folder.mistakes(f"extends: base/linux\nvariables:\n{doubling}\n  v40: xxxxxxxx\nsummary: ${{v0}}\n")
    assert any("unreasonably long" in mistake for mistake in mistakes)


def test_matrix_makes_one_recipe_for_each_combination(folder: Folder) -> None:
    folder.write(
        "r", "extends: base/linux\nmatrix: {release: ['7', '8'], n: [1, 2]}\nsummary: ${name}/${release}/${n}\n"
    )
    recipes = RecipeFolder(folder.root).load("r")
    assert [recipe.summary for recipe in recipes] == ["r-7-1/7/1", "r-7-2/7/2", "r-8-1/8/1", "r-8-2/8/2"]


def test_a_mistake_in_every_cell_is_told_once(folder: Folder) -> None:
    assert len(folder.mistakes("extends: base/linux\nmatrix: {n: [1, 2]}\nsumary: x\n")) == 1


@pytest.mark.parametrize("name", ["../r", "/etc/passwd", "", "no-such", "R", "a/../r", "base/linux.yaml"])
def test_names_cannot_lead_out(folder: Folder, name: str) -> None:
    folder.write("r", "extends: base/linux")
    with pytest.raises(PipelineError, match="there is no recipe"):
        RecipeFolder(folder.root).load(name)
    assert folder.mistakes(f"extends: {name!r}")


@pytest.mark.parametrize(
    ("file", "name", "hint"),
    [
        ("mine", "Mine", "its name is mine"),
        ("mine", "mine.yaml", "its name is mine"),
        ("mine", "MINE.yml", "its name is mine"),
        ("Mine", "Mine", "rename it: mv .*/Mine.yaml .*/mine.yaml"),
        ("Mine", "Mine.yaml", "rename it: mv .*/Mine.yaml .*/mine.yaml"),
        ("mine.yml", "mine", "rename it: mv .*/mine.yml .*/mine.yaml"),
        ("mine.yml", "mine.yml", "rename it: mv .*/mine.yml .*/mine.yaml"),
        ("Mine.yml", "Mine", "rename it: mv .*/Mine.yml .*/mine.yaml"),
    ],
)
def test_a_name_that_was_meant_otherwise_is_told(folder: Folder, file: str, name: str, hint: str) -> None:
    (folder.root / (file if "." in file else f"{file}.yaml")).write_text("extends: base/linux\n")
    with pytest.raises(PipelineError) as caught:
        RecipeFolder(folder.root).load(name)
    assert re.fullmatch(hint, str(caught.value.hint)), caught.value.hint


def test_a_parent_of_another_ending_is_told(folder: Folder) -> None:
    (folder.root / "mine.yml").write_text(BASE)
    folder.write("r", "extends: mine")
    with pytest.raises(PipelineError) as caught:
        RecipeFolder(folder.root).load("r")
    assert caught.value.hint == "recipes end in .yaml: rename mine.yml"


def test_a_recipe_behind_a_link_out_of_the_folder_is_refused(folder: Folder, tmp_path: Path) -> None:
    outside = tmp_path.with_name(f"{tmp_path.name}-outside.yaml")
    outside.write_text(BASE)
    (folder.root / "linked.yaml").symlink_to(outside)
    assert "leads out of the recipe folder" in folder.mistakes("extends: linked")[0]


def test_files_of_a_recipe_stay_inside_its_folder(folder: Folder, tmp_path: Path) -> None:
    outside = tmp_path.with_name(f"{tmp_path.name}-secret")
    outside.write_text("secret")
    (folder.root / "motd").write_text("hello")
    (folder.root / "link").symlink_to(outside)
    good = folder.one("extends: base/linux\ncustomize: {files: [{path: /etc/motd, source: motd}]}")
    assert good.customize.model_dump(mode="json")["files"][0]["source"] == {
        "name": "motd",
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    }
    for name in (str(outside), f"../{outside.name}", "link"):
        (mistake,) = folder.mistakes(f"extends: base/linux\ncustomize: {{files: [{{path: /a, source: {name}}}]}}")
        assert "lies outside the recipe's folder" in mistake
    allowed = RecipeFolder(folder.root, (outside.parent,)).load("r")
    assert allowed[0].customize.files[0].source is not None
    (mistake,) = folder.mistakes("extends: base/linux\ncustomize: {files: [{path: /a, source: none}]}")
    assert "none cannot be read: No such file or directory" in mistake
    os.mkfifo(folder.root / "pipe")
    (mistake,) = folder.mistakes("extends: base/linux\ncustomize: {files: [{path: /a, source: pipe}]}")
    assert "not a regular file" in mistake


def test_a_changed_file_has_a_new_digest(folder: Folder) -> None:
    text = "extends: base/linux\ncustomize: {files: [{path: /etc/motd, source: motd}]}"
    (folder.root / "motd").write_text("one")
    source = folder.one(text).customize.files[0].source
    assert source is not None
    before = source.sha256
    (folder.root / "motd").write_text("two")
    assert source.sha256 != before


def test_recipes_are_frozen(folder: Folder) -> None:
    recipe = folder.one("extends: base/linux")
    with pytest.raises(ValueError, match="frozen"):
        recipe.name = "other"  # type: ignore[misc]


def test_properties_of_os_and_architecture_are_derived(folder: Folder) -> None:
    recipe = folder.one("extends: base/linux\nproperties: {hw_disk_bus: virtio}\npublish: {name: Nice}\n")
    assert recipe.image_name == "Nice"
    assert recipe.image_properties == {
        "architecture": "x86_64",
        "hw_architecture": "x86_64",
        "os_type": "linux",
        "os_distro": "debian",
        "os_version": "12",
        "os_admin_user": "debian",
        "hw_disk_bus": "virtio",
    }


def test_folders_list_their_recipes_only(folder: Folder) -> None:
    folder.write("b", BASE)
    folder.write("a", BASE)
    folder.write("nightly", "recipes: [a]")
    assert RecipeFolder(folder.root).names() == ["a", "b"]


_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["${name}", "$${", "${"]),
)
_KEYS = st.one_of(
    st.sampled_from([*Recipe.model_fields, "extends", "variables", "matrix", "+products", "method", "format", "size"]),
    st.text(max_size=8),
)
_DATA = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=12
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(data=st.dictionaries(_KEYS, _DATA, max_size=6))
def test_any_mapping_gives_a_recipe_or_an_explanation(folder: Folder, data: dict[str, Any]) -> None:
    import yaml

    (folder.root / "r.yaml").write_text(yaml.safe_dump(data, allow_unicode=True))
    try:
        recipes = RecipeFolder(folder.root).load("r")
    except PipelineError as error:
        assert str(error)
    else:
        assert all(isinstance(recipe, Recipe) for recipe in recipes)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(text=st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_gives_an_explanation(folder: Folder, text: str | bytes) -> None:
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    (folder.root / "r.yaml").write_bytes(raw)
    with pytest.raises(PipelineError):
        RecipeFolder(folder.root).load("r")
