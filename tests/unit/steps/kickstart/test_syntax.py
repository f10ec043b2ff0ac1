from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.steps.kickstart import syntax

TEXT = """# a comment
text
part / --fstype=xfs --ondisk vda  # and one here
bootloader --append="a b" --boot-drive=vda

%packages --nobase
@core
@^minimal
kernel   # the newest
-plymouth
%end

%post --erroronfail
text --not-a-command
# kept
%end
poweroff
"""


def test_what_is_in_a_kickstart() -> None:
    found = syntax.parse(TEXT)
    assert [(command.name, command.line) for command in found.commands] == [
        ("text", 2),
        ("part", 3),
        ("bootloader", 4),
        ("poweroff", 17),
    ]
    (part,) = found.named("part")
    assert (part.option("fstype"), part.option("ondisk"), part.option("size")) == ("xfs", "vda", None)
    assert next(found.named("bootloader")).option("append") == "a b"
    assert found.packages == (("kernel", 9),)
    assert found.groups == (("core", 7), ("minimal", 8))
    (script,) = found.scripts
    assert (script.name, script.words, script.line) == ("%post", ("--erroronfail",), 13)
    assert script.text == "text --not-a-command\n# kept"


def test_what_is_never_closed() -> None:
    found = syntax.parse('bootloader --append="a b\n%packages\nkernel')
    assert found.commands[0].words == ('--append="a', "b")
    assert found.packages == (("kernel", 3),)


def test_a_section_that_the_next_one_ends_and_a_file_that_is_included() -> None:
    found = syntax.parse(
        "%include /tmp/x\ntext\n%packages --ignoremissing\nkernel\n%post --interpreter /bin/bash\ntrue"
    )
    assert [command.name for command in found.commands] == ["text"]
    assert found.packages == (("kernel", 4),)
    assert found.ignores_missing
    (script,) = found.scripts
    assert (script.text, script.interpreter, script.is_shell) == ("true", "/bin/bash", True)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    syntax.parse(text)


_WORDS = st.text(st.sampled_from("abc--=/@%^#'\" \t\\"), max_size=12)


@given(st.lists(_WORDS), st.sampled_from(["%post", "%packages", "%pre --x", "text", "%end"]))
def test_anything_like_a_kickstart_can_be_read(lines: list[str], head: str) -> None:
    found = syntax.parse("\n".join([head, *lines]))
    assert all(1 <= command.line <= len(lines) + 1 for command in found.commands)
