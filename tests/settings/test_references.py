from pathlib import Path

import pytest

from usenetsyncd.errors import ConfigurationError, NotFound
from usenetsyncd.settings.references import PlainSecret, SecretRef, parse_secret, parse_secret_url, resolve
from usenetsyncd.settings.report import Refused


def no_credentials(name: str) -> str:
    raise NotFound(name)


@pytest.mark.parametrize("text", ["${credential:main}", "${env:NEWS_PASSWORD}", "${file:/run/secrets/news}"])
def test_a_reference_is_kept_unresolved(text: str) -> None:
    assert parse_secret(text) == SecretRef(text)
    assert str(parse_secret(text)) == text


@pytest.mark.parametrize("text", ["hunter2", "", "x${env:A}", "${env:A}x", "$ENV", "{credential:main}"])
def test_plain_text_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(PlainSecret) as caught:
        parse_secret(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "${credential:}",
        "${credential:a/b}",
        "${credential:../x}",
        "${env:1A}",
        "${file:relative}",
        "${vault:x}",
        "${env:A",
    ],
)
def test_a_wrong_reference_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/ping/uuid",
        "json://127.0.0.1:8080/x",
        "postgresql://user@host/name",
        "postgresql://user:${credential:db}@host/name",
        "redis://host:6379/0",
        "tgram://${credential:bot}/123",
        "https://host/x?token=${env:T}",
    ],
)
def test_a_url_without_a_secret_in_it_may_stand_as_it_is(text: str) -> None:
    assert str(parse_secret_url(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://user:hunter2@host/x",
        "https://hunter2@host/x",
        "https://host/x?token=hunter2",
        "tgram://hunter2/123",
        "discord://1/hunter2",
        "redis://:hunter2@host/0",
        "postgresql://user:hunter2@host/name",
        "hunter2",
        "http://[hunter2",
    ],
)
def test_a_url_with_a_secret_in_it_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(PlainSecret) as caught:
        parse_secret_url(text)
    assert "hunter2" not in str(caught.value)


def test_each_kind_of_reference_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("from file\n")
    assert resolve(SecretRef("${credential:main}"), {"main": "from store"}.__getitem__, {}) == "from store"
    assert resolve(SecretRef("${env:NEWS}"), no_credentials, {"NEWS": "from env"}) == "from env"
    assert resolve(SecretRef(f"${{file:{tmp_path}/pw}}"), no_credentials, {}) == "from file"
    url = SecretRef("redis://:${env:P}@${env:H}/0")
    assert resolve(url, no_credentials, {"P": "p", "H": "h"}) == "redis://:p@h/0"
    assert resolve(SecretRef("sqlite"), no_credentials, {}) == "sqlite"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (
            "${credential:main}",
            "servers[0].password: no credential named 'main'; set it with: usyncctl credential set main",
        ),
        ("${env:NEWS}", "servers[0].password: the environment variable NEWS is not set"),
        ("${env:EMPTY}", "servers[0].password: ${env:EMPTY} is empty"),
        (
            "${file:/nonexistent/pw}",
            "servers[0].password: /nonexistent/pw cannot be read: No such file or directory",
        ),
    ],
)
def test_what_cannot_be_looked_up_says_what_to_do(template: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(SecretRef(template), no_credentials, {"EMPTY": ""}, key="servers[0].password")
    assert str(caught.value) == expected


def test_a_secret_with_a_reference_inside_is_not_looked_up_again() -> None:
    assert resolve(SecretRef("${env:A}"), no_credentials, {"A": "${env:B}", "B": "x"}) == "${env:B}"
