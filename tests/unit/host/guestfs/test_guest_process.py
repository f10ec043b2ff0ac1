"""What comes back of a script that ran in a guest; real ones run in tests/guest."""

from __future__ import annotations

import base64

import pytest

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import appliance_shell, attributes, guest_process


def packed(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Appliance:
    """Answers one script, whose output is longer than comes with the first reply."""

    def __init__(self, status: str, output: bytes, *, left: bytes = b"", said: bytes = b"", first: int = 4) -> None:
        self.status, self.output, self.left, self.said, self.first = status, output, left, said, first
        self.uploaded = b""

    def get_network(self) -> int:
        return 0

    def debug_upload(self, source: str, target: str, mode: int) -> None:
        with open(source, "rb") as file:
            self.uploaded = file.read()

    def debug(self, name: str, words: list[str]) -> str:
        if words[0].startswith("tail"):
            start, size = int(words[0].split()[2].strip("+")) - 1, int(words[0].split()[7])
            return packed(self.output[start : start + size])
        head = f"{self.status} {len(self.output)} 3"
        return "\n".join([head, packed(self.left), packed(self.said), packed(self.output[: self.first])])


def test_output_comes_in_pieces_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance_shell, "PIECE", 5)
    appliance = Appliance("7", b"caf\xe9, and more", left=b"sleep 7200 \n\n/bin/caf\xe9 -x\n")
    done = guest_process.run(appliance, "echo \udce9")
    assert (done.status, done.output, done.dropped) == (7, b"caf\xe9, and more", 3)
    assert done.left == ("sleep 7200", "a program without a name", "/bin/caf\ufffd -x")
    assert appliance.uploaded.endswith(b"exit\n# What follows is the guest's.\necho \xe9")


def test_a_script_that_never_started_is_told() -> None:
    with pytest.raises(PipelineError, match="nothing can be run in the guest") as caught:
        guest_process.run(Appliance("none", b"", said=b"the guest has no folder /proc\n"), "true")
    assert caught.value.details == ("the guest has no folder /proc",)


def test_attributes_are_read_whatever_the_names_are() -> None:
    listing = b"----i---------e------- ./etc\n-----a-------- ./var/caf\xe9\n-------- ./x\nname ./y\nia\n----i--- .\n"
    assert attributes.parsed(listing) == {"/etc": "i", "/var/caf\udce9": "a", "": "i"}
