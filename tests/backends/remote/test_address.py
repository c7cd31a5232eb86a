"""What stands behind the scheme of a backend string."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ling_agent import ConfigurationError
from ling_agent.backends.remote.address import Address, parse_address


@pytest.mark.parametrize(
    ("text", "urls", "model"),
    [
        ("http://a:8000", ("http://a:8000",), None),
        ("http://a:8000/", ("http://a:8000",), None),
        ("http://a:8000/v1", ("http://a:8000",), None),
        ("http://a:8000/v1/", ("http://a:8000",), None),
        ("https://a/api/v1", ("https://a/api",), None),
        ("https://a/v1/x", ("https://a/v1/x",), None),
        ("HTTP://A:8000", ("http://a:8000",), None),
        ("http://[::1]:8000", ("http://[::1]:8000",), None),
        ("http://a#m", ("http://a",), "m"),
        ("http://a/v1#org/model-7B", ("http://a",), "org/model-7B"),
        ("http://a# m ", ("http://a",), "m"),
        ("http://a#", ("http://a",), None),
        ("http://a#qwen2.5:0.5b", ("http://a",), "qwen2.5:0.5b"),
        ("http://a:1,http://b:2", ("http://a:1", "http://b:2"), None),
        (" http://a:1 , http://b:2 ,#m", ("http://a:1", "http://b:2"), "m"),
        ("http://a,http://a/v1,http://b", ("http://a", "http://b"), None),
    ],
)
def test_urls_and_a_model(text: str, urls: tuple[str, ...], model: str | None) -> None:
    address = parse_address(text)
    assert address == Address(urls, model)
    assert parse_address(str(address)) == address, "as it is shown it can be written"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no base URL: write for example vllm:http://localhost:8000"),
        ("#m", "no base URL"),
        (",", "no base URL"),
        ("localhost:8000", "begin it with http:// or https://"),
        ("a", "begin it with http:// or https://"),
        ("//a", "begin it with http:// or https://"),
        ("ftp://a", "only http:// and https:// are spoken, not ftp://"),
        ("http://", "names no host"),
        ("http:///v1", "names no host"),
        ("http://a:port", "is not a base URL"),
        ("http://a:99999", "is not a base URL"),
        ("http://[::1", "is not a base URL"),
        ("http://a?x=1", "a base URL has no query"),
        ("http://user:word@a", "give api_key=… or set LING_AGENT_API_KEY"),
        ("http://a,b", "'b' is not a base URL"),
    ],
)
def test_what_is_no_address_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_address(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "http://u:secret@a",
        "ftp://u:secret@a",
        "u:secret@a",
        "http://u:secret@a:x",
        "http://secret@",
    ],
)
def test_a_password_is_never_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_address(text)
    assert "secret" not in str(caught.value)


@example("HTTP:// :")
@given(st.text(max_size=30) | st.text("htps:/#,.@?[]v1a ", max_size=30).map("http://".__add__))
def test_any_text_is_an_address_or_one_clear_error(text: str) -> None:
    try:
        address = parse_address(text)
    except ConfigurationError:
        return
    assert address.urls
    assert parse_address(str(address)) == address
