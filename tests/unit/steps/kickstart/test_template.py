"""Templates of recipes: text in, text out, whatever they try."""

from __future__ import annotations

import os
import re
import sys

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.system import sandbox
from pipeline.steps.kickstart import isolated, renderer, template

pytestmark = pytest.mark.subprocess


def rendered(text: str | bytes, **variables: object) -> str:
    return template.render("a.ks", text.encode() if isinstance(text, str) else text, variables)


def refused(text: str | bytes, **variables: object) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        rendered(text, **variables)
    return caught.value


def test_text_becomes_text() -> None:
    assert rendered("{% for each in names %}\n{{ each | upper }}\n{% endfor %}", names=["a", "é"]) == "A\nÉ\n"


def test_arithmetic_on_numbers_is_possible() -> None:
    assert rendered("{{ size * 1024 % 1000 }}", size=2) == "48"


@pytest.mark.parametrize(
    "text",
    [
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ name.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__ }}",
        "{{ name['__class__'] }}",
        "{{ name | attr('__class__') }}",
        "{{ [name] | map(attribute='__class__') | join }}",
        "{{ '{0.__class__}'.format(name) }}",
        "{{ '{0.__class__}'.format_map({'0': name}) }}",
        "{{ range.__globals__ }}",
        "{{ namespace.__init__ }}",
        "{{ lipsum() }}",
        "{{ joiner() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{% extends '/etc/passwd' %}",
        "{{ names.append(1) }}",
        "{{ names }}",
        "{{ nothing }}",
        "{{ name, name }}",
        "{{ name.upper }}",
        "{{ name | xmlattr }}",
        "{{ name | pprint }}",
    ],
)
def test_no_way_leads_out(text: str) -> None:
    error = refused(text, name="x", names=[], nothing=None)
    assert error.message.startswith("a.ks:1: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ 'x' * 9 }}", r"\* works on numbers only"),
        ("{{ [1] * 9 }}", r"\* works on numbers only"),
        ("{{ '%099999999d' % 1 }}", "% works on numbers only"),
        ("{{ 'x' ** 2 }}", r"\*\* works on numbers only"),
        ("a\n{{ 'x' ~ 'y' }}", r"a.ks:2: ~ is not allowed"),
        ("{{ 9 ** 9 ** 9 }} {{ 9 ** (9 ** 9) }}", "2 s of processor time"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "2 s of processor time"),
        ("{{ 'x'.ljust(999999999) }}", "MiB"),
        (
            "{% set n = namespace(s='xxxxxxxx') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}",
            "256 MiB",
        ),
        ("{% for a in range(99999) %}" + "x" * 99 + "{% endfor %}", "more than 1 MiB of text"),
        ("{{ range(1 << 60) }}", "a.ks:1"),
        ("{% for a in range(999999999) %}{% endfor %}", "a.ks:1: Range too big"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
        ("{" * 3 + "(" * 5000, "a.ks"),
        (b"caf\351", "a.ks is not UTF-8 text"),
        (b"a\nb\0", "a.ks:2: a NUL is no text"),
        (b"x" * (template.LONGEST + 1), "larger than 1 MiB"),
    ],
)
def test_what_it_may_take_is_bounded(text: str | bytes, told: str) -> None:
    error = refused(text)
    assert re.search(told, error.message), error.message


def test_the_shell_keeps_its_own_signs() -> None:
    text = "echo ${#array[@]} ${name#{x} {# not a comment #} ${a%%b} $(( 1 << 2 ))\n"
    assert rendered(text) == text


def test_braces_of_the_shell_get_a_hint() -> None:
    error = refused("first\necho {{a,b}}\n")
    assert error.message == "a.ks:2: 'a' is undefined"
    assert list(error.details) == ["echo {{a,b}}"]
    assert "{% raw %}" in str(error.hint)
    assert rendered("{% raw %}echo {{a,b}}{% endraw %}") == "echo {{a,b}}"


def test_nothing_of_ours_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    # Were the sandbox of the language to fail, the process has nothing to give.
    monkeypatch.setenv("PIPELINE_SECRET_X", "hush")
    words = [
        sys.executable,
        "-I",
        "-c",
        "import os, json; print(json.dumps([dict(os.environ), os.listdir('/')]))",
    ]
    said = sandbox.run(
        [os.path.realpath(words[0]), *words[1:]],
        readable=isolated.readable(renderer, ()),
        bounds=template._BOUNDS,
        whole_system=True,
    ).stdout
    assert "hush" not in said
    assert '"root"' not in said
    assert '"work"' not in said


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_part_of_the_text(encoding: str) -> None:
    assert template.render("a.ks", "lang {{ x }}\n".encode(encoding), {"x": "de_DE"}) == "lang de_DE\n"


def test_the_filters_are_jinjas() -> None:
    assert set(renderer.FILTERS) == set(renderer.environment().filters)
