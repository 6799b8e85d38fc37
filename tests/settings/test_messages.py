"""What a person reads when something is wrong: one row for each mistake."""

import pytest

from usenetsyncd.settings.layers import load_text
from usenetsyncd.settings.report import ConfigurationErrors, one_of

SERVER = "servers: [{{name: main, host: news.example.com, {}}}]"

ROWS = [
    ("limits: {upload: fast}", "u.yaml:1:18: error: limits.upload: expected a rate such as 8 MB/s"),
    ("defaults: {setle: 2s}", "u.yaml:1:12: error: defaults.setle: unknown key; did you mean 'settle'?"),
    ("serverss: []", "u.yaml:1:1: error: serverss: unknown key; did you mean 'servers'?"),
    ("upload: 3", "u.yaml:1:1: error: upload: unknown key; did you mean 'limits.upload'?"),
    ("zzz: 1", "u.yaml:1:1: error: zzz: unknown key"),
    (
        "version: 2",
        "u.yaml:1:10: error: version: expected 1, the only version of this file's layout so far, got '2'",
    ),
    ("servers: main", "u.yaml:1:10: error: servers: expected a list, got text"),
    ("servers: [main]", "u.yaml:1:11: error: servers[0]: expected keys and values, got text"),
    ("limits: 8 MB/s", "u.yaml:1:9: error: limits: expected keys and values, got text"),
    ("servers: [{name: main}]", "u.yaml:1:11: error: servers[0].host: required, but not given"),
    ("folders: [{id: a}]", "u.yaml:1:11: error: folders[0].path: required, but not given"),
    ("folders: [{path: /a}]", "u.yaml:1:11: error: folders[0].id: required, but not given"),
    ("folders: [{id: A, path: /a}]", "u.yaml:1:16: error: folders[0].id: expected an id of small letters"),
    ("folders: [{id: a, path: a}]", "folders[0].path: expected an absolute path, got 'a'"),
    ("folders: [{id: a, path: /a/../b}]", "folders[0].path: '..' is not allowed in a path"),
    ("folders: [{id: a, path: }]", "folders[0].path: expected text, got nothing"),
    (
        "folders: [{id: a, path: /a, priority: hihg}]",
        "critical, high, normal, low or background, got 'hihg'; did you mean 'high'?",
    ),
    (SERVER.format("connections: twenty"), "servers[0].connections: expected a whole number, got 'twenty'"),
    (SERVER.format("connections: 0"), "expected a whole number from 1 to 500, got '0'"),
    (SERVER.format("port: 70000"), "expected a whole number from 1 to 65,535, got '70000'"),
    (
        SERVER.format("roles: [poster]"),
        "servers[0].roles[0]: expected post, read or verify, got 'poster'; did you mean 'post'?",
    ),
    (SERVER.format("roles: post"), "servers[0].roles: expected a list, got text"),
    (SERVER.format("roles: []"), "a server without a role"),
    (SERVER.format("tls: none"), "servers[0].tls: 'none' is only for a server on this machine"),
    (SERVER.format("tls: ssl"), "servers[0].tls: expected implicit, starttls or none, got 'ssl'"),
    (SERVER.format("verify: false"), "servers[0].verify: certificates are always verified"),
    (SERVER.format("verify_tls: no"), "certificates are always verified"),
    (SERVER.format("ssl: true"), "TLS is set by 'tls'"),
    (SERVER.format("user: a"), "unknown key; did you mean 'username'?"),
    (SERVER.format("max_connections: 3"), "unknown key; did you mean 'connections'?"),
    (SERVER.format("password: '${env:A}'"), "a password without a username"),
    (SERVER.format("quota: lots"), "expected a quota such as 2 TB/month"),
    (SERVER.format("expires: soon"), "expected a date such as 2027-03-01, got 'soon'"),
    (SERVER.format("pin_sha256: abc"), "expected the SHA-256 of the server's public key"),
    ("servers: [{name: a, host: 'nntps://h'}]", "expected a host name only, without scheme or path"),
    ("servers: [{name: a, host: 'h.example:563'}]", "the port has its own key, 'port'"),
    ("servers: [{name: a b, host: h}]", "expected a name of letters, digits"),
    (
        "newsgroups: [alt binaries]",
        "newsgroups[0]: expected a newsgroup such as alt.binaries.backup, got 'alt binaries'",
    ),
    ("defaults: {compression: gzip}", "expected zstd, lzma or none, got 'gzip'"),
    (
        "defaults: {redundancy: {parity: 10}}",
        "expected a percentage such as 10% between 0% and 100%, got '10'",
    ),
    ("defaults: {settle: 2}", "defaults.settle: expected a duration such as 30s, 10m, 1h or 7d, got '2'"),
    ("defaults: {rescan: 1s}", "expected a duration from 10s to 366d, got '1s'"),
    ("defaults: {metadata: {owner: maybe}}", "expected true or false, got 'maybe'"),
    ("defaults: {newsgroups: [{groups: [alt.a], biger_than: 1 MB}]}", "unknown key"),
    ("defaults: {newsgroups: [{match: x, groups: []}]}", "name at least one group"),
    (
        "limits: {schedule: [{at: never, upload: 0}]}",
        "limits.schedule[0].at: expected days and times such as",
    ),
    ("limits: {schedule: [{at: 'mon 08:00-09:00'}]}", "limits.schedule[0]: give upload, download or both"),
    ("retry: {999: {}}", "u.yaml:1:9: error: retry.999: expected a reply code from 400 to 599"),
    ("retry: {502: {tries: many}}", "retry.502.tries: expected a whole number, got 'many'"),
    ("retry: {502: {trys: 3}}", "retry.502.trys: unknown key; did you mean 'tries'?"),
    ("storage: {catalogue: mysql://x}", "storage.catalogue: expected sqlite or a URL such as postgresql://"),
    ("web: {listen: 8734}", "expected an address and a port such as 127.0.0.1:8734"),
    ("log: {level: loud}", "expected debug, info, warning or error, got 'loud'"),
    ("log: {components: {news: loud}}", "log.components.news: expected debug"),
    ("notify: [{on: [error]}]", "notify[0]: give either url or healthcheck"),
    ("notify: [{url: '${env:A}', healthcheck: 'https://h/x'}]", "notify[0]: give either url or healthcheck"),
    ("cluster: {mode: celery}", "cluster.broker: needed for mode celery"),
    ('log: {directory: "/a\\nb"}', "control characters are not allowed"),
]


@pytest.mark.parametrize(("text", "expected"), ROWS, ids=[row[0][:50] for row in ROWS])
def test_a_mistake_is_told_with_its_place_and_in_plain_words(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationErrors) as caught:
        load_text(text, "u.yaml", {})
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("u.yaml:1:")
    assert expected in lines[0]


def test_the_errors_of_one_file_are_in_its_order() -> None:
    text = "log: {level: x}\nservers: [{name: a}]\nlimits: {upload: y}\nfolders: [{id: A, path: b}]\n"
    with pytest.raises(ConfigurationErrors) as caught:
        load_text(text, "u.yaml", {})
    assert [problem.at.line for problem in caught.value.problems] == [1, 2, 3, 4, 4]
    assert caught.value.count == "5 errors"


def test_choices_are_joined_as_a_person_would() -> None:
    assert one_of(["a"]) == "a"
    assert one_of(["a", "b", "c"]) == "a, b or c"
