"""Addresses for the wire and for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.urls import host_name, to_ascii, without_secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host.example/a/b.img", "https://host.example/a/b.img"),
        ("https://user:secret@host.example:8443/a", "https://host.example:8443/a"),
        ("https://user@host.example", "https://host.example"),
        ("https://a@b:secret@host.example/x", "https://host.example/x"),
        ("https://host.example/a?X-Amz-Signature=secret#secret", "https://host.example/a"),
        ("https://host.example?secret", "https://host.example"),
        ("https://[2001:db8::1]:80/a?secret", "https://[2001:db8::1]:80/a"),
        ("https://host.example/@scope/x", "https://host.example/@scope/x"),
        ("//user:secret@host.example/x", "//host.example/x"),
        ("s3+https://key:secret@host.example/bucket/x", "s3+https://host.example/bucket/x"),
        ("user:secret@host.example//x", "…@host.example//x"),
        ("http:/user:secret@host/x", "…@host/x"),
        ("http:///user:secret@host/x", "…@host/x"),
        ("http:\\\\user:secret@host/x", "…@host/x"),
        ("http://user:sec/ret@host/x", "…@host/x"),
        ("http://user:sec?ret@host/x", "…@host/x"),
        ("http://user:sec#ret@host/x", "…@host/x"),
        ("no URL at all", "no URL at all"),
        ("", ""),
    ],
)
def test_what_people_see(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
    assert "secret" not in shown and "ret@" not in shown


@given(st.text(alphabet="ab:/@?#[]\\.", max_size=12), st.sampled_from(["http://", "https:", "//", ""]))
def test_no_spelling_shows_a_password(user: str, begin: str) -> None:
    assert "SECRET" not in without_secrets(f"{begin}{user}:SECRET@host.example/x")
    assert "SECRET" not in without_secrets(f"{begin}{user}?q=SECRET")


@pytest.mark.parametrize(
    ("url", "ascii_"),
    [
        ("http://host.example/a%20b?c=d#e", "http://host.example/a%20b?c=d#e"),
        ("http://host.example//a/../b", "http://host.example//a/../b"),
        ("http://host.example/bücher.img", "http://host.example/b%C3%BCcher.img"),
        ("http://host.example/a b?c=d e", "http://host.example/a%20b?c=d%20e"),
        ("http://bücher.example:8080/ä%20", "http://xn--bcher-kva.example:8080/%C3%A4%20"),
        ("http://host.example/日本?q=日", "http://host.example/%E6%97%A5%E6%9C%AC?q=%E6%97%A5"),
    ],
)
def test_what_goes_over_the_wire(url: str, ascii_: str) -> None:
    assert to_ascii(url) == ascii_
    assert to_ascii(ascii_) == ascii_


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Host.Example.", "host.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("ｈｏｓｔ．example", "host.example"),
        ("host。example", "host.example"),
        ("１２７.０.0.1", "127.0.0.1"),
        ("ⓔvil.example", "evil.example"),
        ("my_host.example", "my_host.example"),
        ("::1", "::1"),
    ],
)
def test_hosts_have_one_form(host: str, name: str) -> None:
    assert host_name(host) == name


@given(st.text(max_size=20))
def test_any_text_is_a_host_or_refused(text: str) -> None:
    try:
        assert host_name(text).isascii()
    except ValueError:
        pass
