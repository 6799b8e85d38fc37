"""From settings to accounts and reply table."""

from usenetsyncd.daemon.accounts import accounts_of, overrides_of
from usenetsyncd.errors import NotFound
from usenetsyncd.model import ServerRole, TlsMode
from usenetsyncd.news.replies import ReplyTable
from usenetsyncd.settings.layers import load_text
from usenetsyncd.settings.schema import Settings

SERVERS = """version: 1
servers:
  - {name: main, host: news.example.com, username: me, password: "${credential:main}", connections: 20, roles: [post]}
  - {name: other, host: 127.0.0.1, port: 1119, tls: none}
"""


def settings(text: str) -> Settings:
    return load_text(text, environ={}).settings


def no_credential(name: str) -> str:
    raise NotFound(f"no credential named {name}")


def test_an_account_carries_what_the_settings_say_and_the_secret_behind_the_reference() -> None:
    accounts, problems = accounts_of(settings(SERVERS), {"main": "s3cret-word"}.__getitem__, {})
    assert problems == []
    main, other = accounts
    assert (main.username, main.password, main.connections) == ("me", "s3cret-word", 20)
    assert main.roles == {ServerRole.POST}
    assert "s3cret-word" not in repr(main)
    assert (other.port, other.tls, other.password) == (1119, TlsMode.NONE, None)


def test_a_missing_password_takes_out_its_own_server_only() -> None:
    accounts, problems = accounts_of(settings(SERVERS), no_credential, {})
    assert [account.name for account in accounts] == ["other"]
    (problem,) = problems
    assert "main" in problem


def test_every_field_of_a_retry_rule_reaches_the_reply_table() -> None:
    text = "version: 1\nretry: {400: {wait: 7s, tries: 3, strategy: linear, longest: 5m, jitter: 10%, rest: 2m}}\n"
    overrides = overrides_of(settings(text))
    assert overrides == {
        "400": {
            "base_s": 7.0,
            "attempts": 3,
            "strategy": "linear",
            "max_s": 300.0,
            "jitter": 0.1,
            "rest_s": 120.0,
        }
    }
    ReplyTable(overrides)


def test_without_a_retry_section_nothing_is_overridden() -> None:
    assert overrides_of(settings("version: 1\n")) == {}
