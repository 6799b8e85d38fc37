import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from usenetsyncd.telemetry.redaction import (
    MASK,
    MAX_TEXT,
    forget_secrets,
    is_secret_name,
    redact_fields,
    redact_text,
    register_secret,
)

CANARY = "c4n4ry+Pass/word=\"'\\ö"


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "share_string",
        "string",
        "secret",
        "api_key",
        "key",
        "token",
        "passphrase",
        "kit",
        "master",
    ],
)
def test_a_field_with_a_secret_s_name_is_masked_whatever_it_holds(name: str) -> None:
    assert is_secret_name(name)
    for value in ("x", b"x", ["x"], {"a": "x"}, object()):
        assert redact_fields({name: value}) == {name: MASK}


@pytest.mark.parametrize(
    "name", ["server", "folder_key", "public_key", "monkey", "keyword", "stringent", "path", "kits_made"]
)
def test_other_fields_are_not_masked(name: str) -> None:
    assert redact_fields({name: "x"}) == {name: "x"}


def test_counts_under_a_secret_s_name_stay_readable() -> None:
    assert redact_fields({"keys": 3, "token": None, "secret": True}) == {
        "keys": 3,
        "token": None,
        "secret": True,
    }


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("restore usyncread1qpzry9x8gf2tvdw0s3jn54khce6mua7l now", "restore *** now"),
        ("USYNCRCVR1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", "***"),
        ("usyncread1qpzry9x8", "***"),
        ("lost after AUTHINFO PASS hunter 2", "lost after AUTHINFO PASS ***"),
        ("authinfo pass hunter2\r\nNEXT", "authinfo pass ***\r\nNEXT"),
        ("https://user:hunter2@host/x", "https://***@host/x"),
        ("redis://:hunter2@host:1/0 and amqp://u:hunter2@h", "redis://***@host:1/0 and amqp://***@h"),
        ("Account(password='hunter 2', host='x')", "Account(password=***, host='x')"),
        ("token=hunter2&x=1", "token=***&x=1"),
        ("{'password': 'hunter2', 'a': 1}", "{'password': ***, 'a': 1}"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, left: str) -> None:
    assert redact_text(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "<qpzry9x8gf2tvdw0s3jn54@khce6mua7l.example>",
        "https://example.com/path@2x.png",
        "servers[0].password: expected a reference",
        "alt.binaries.backup",
        "/srv/usyncread/1",
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


def forms(secret: str) -> list[str]:
    raw = secret.encode()
    around = [base64.b64encode(b"x" * lead + raw + b"yz").decode() for lead in range(4)]
    return [
        secret,
        repr(secret),
        repr(raw),
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        quote(secret, safe=""),
        raw.hex(),
        raw.hex().upper(),
        base64.b32encode(raw).decode(),
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        *around,
    ]


def hidden(secret: str, text: str) -> bool:
    """Whether none of the secret's forms is left in the text."""
    raw = secret.encode()
    cores = [base64.b64encode(b"x" * lead + raw + b"yz").decode()[lead + 2 : -6] for lead in range(3)]
    exposed = [secret, raw.hex(), raw.hex().upper(), base64.b32encode(raw).decode().rstrip("="), *cores]
    return not any(form in text for form in exposed)


def test_a_registered_secret_is_masked_in_each_of_its_forms() -> None:
    register_secret(CANARY)
    for form in forms(CANARY):
        masked = redact_text(f"before {form} after")
        assert MASK in masked
        assert hidden(CANARY, masked), form
        assert masked.startswith("before ")
        assert masked.endswith(" after")


@given(
    st.text(st.characters(codec="utf-8", min_codepoint=33), min_size=9, max_size=40),
    st.text(max_size=20),
    st.text(max_size=20),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_any_registered_secret_is_masked_anywhere(secret: str, before: str, after: str) -> None:
    forget_secrets()
    register_secret(secret)
    for form in forms(secret):
        assert hidden(secret, redact_text(before + form + after))


def test_registered_bytes_are_masked_in_text_and_in_bytes() -> None:
    key = bytes(range(200, 232))
    register_secret(key)
    assert redact_text(f"k {key.hex()} {key!r}") == "k *** b'***'"
    assert redact_fields({"a": key, "b": bytearray(key)}) == {"a": MASK, "b": MASK}


def test_a_very_short_secret_is_masked_as_a_word_only() -> None:
    register_secret("abc")
    assert redact_text("abc abcd (abc)") == "*** abcd (***)"
    register_secret("")
    assert redact_text("text") == "text"


def test_a_secret_across_the_cut_is_masked_before_the_text_is_cut() -> None:
    register_secret("hunter2hunter2")
    text = redact_text("x" * (MAX_TEXT - 5) + "hunter2hunter2" + "y" * 100)
    assert "hunter" not in text
    assert len(text) == MAX_TEXT + 3


def test_nested_values_are_masked_and_bounded() -> None:
    register_secret("hunter2hunter2")
    deep: dict[str, object] = {"x": 1}
    for _ in range(20):
        deep = {"x": deep}
    fields = redact_fields(
        {"a": {"password": "p", "list": ["hunter2hunter2", ("ok",)]}, "deep": deep, "many": range(3)}
    )
    assert fields["a"] == {"password": MASK, "list": [MASK, ["ok"]]}
    assert "..." in json.dumps(fields["deep"])
    assert fields["many"] == "range(0, 3)"
    assert len(redact_fields({"a": list(range(1000))})["a"]) == 100  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"docs/a.txt", "docs/a.txt"),
        (bytes(range(240, 256)), bytes(range(240, 256)).hex()),
        (bytes(range(224, 256)), "<32 bytes>"),
        (b"", ""),
        (ValueError("x"), "x"),
    ],
)
def test_bytes_are_shown_as_text_or_as_a_short_id_and_never_as_a_key(value: object, shown: str) -> None:
    assert redact_fields({"value": value}) == {"value": shown}
