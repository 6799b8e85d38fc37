from pathlib import Path

import pytest

from usenetsyncd.settings.checks import is_loopback
from usenetsyncd.settings.layers import load_text
from usenetsyncd.settings.report import ConfigurationErrors

SERVER = "servers: [{name: main, host: news.example.com, username: a, password: '${credential:main}'}]\n"


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationErrors) as caught:
        load_text(text, "u.yaml", {})
    return str(caught.value)


def warnings(text: str) -> str:
    return "\n".join(str(problem) for problem in load_text(text, "u.yaml", {}).warnings)


def folders(*named: tuple[str, str], data_dir: str = "/var/lib/usenetsyncd") -> str:
    listed = "".join(f"  - {{id: {name}, path: {path}}}\n" for name, path in named)
    return f"{SERVER}storage: {{data_dir: {data_dir}}}\nfolders:\n{listed}"


def test_two_folders_cannot_share_an_id() -> None:
    text = refusal(folders(("a", "/srv/a"), ("a", "/srv/b")))
    assert (
        text
        == "u.yaml:5:10: error: folders[1].id: 'a' is taken already by another entry of folders at u.yaml:4:10"
    )


def test_two_servers_cannot_share_a_name() -> None:
    assert "servers[1].name: 'm' is taken" in refusal("servers: [{name: m, host: a.b}, {name: m, host: c.d}]")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("/srv/a", "/srv/a", "/srv/a is watched already by the folder 'a'"),
        ("/srv/a", "/srv/a/", "is watched already by the folder 'a'"),
        ("/srv/a", "/srv/a/b/c", "/srv/a/b/c lies inside the folder 'a' (/srv/a)"),
        ("/srv/a/b/c", "/srv/a", "lies inside the folder 'b' (/srv/a)"),
        ("/srv/a", "/", "lies inside the folder 'b' (/)"),
    ],
)
def test_folders_must_not_overlap(first: str, second: str, expected: str) -> None:
    assert expected in refusal(folders(("a", first), ("b", second), data_dir="/elsewhere"))


def test_folders_side_by_side_with_similar_names_do_not_overlap() -> None:
    assert not warnings(folders(("a", "/srv/a"), ("ab", "/srv/ab"), ("a-b", "/srv/a-b"), ("c", "/srv/a.d")))


def test_a_folder_behind_a_symlink_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = refusal(folders(("a", f"{tmp_path}/real"), ("b", f"{tmp_path}/link")))
    assert "is watched already by the folder 'a'" in text


def test_a_folder_must_not_hold_the_data_directory_nor_lie_in_it() -> None:
    assert "contains the data directory /srv/a/state" in refusal(
        folders(("a", "/srv/a"), data_dir="/srv/a/state")
    )
    assert "lies inside the data directory /srv" in refusal(folders(("a", "/srv/a"), data_dir="/srv"))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST.", "news.localhost"]
)
def test_this_machine_may_be_talked_to_in_clear(host: str) -> None:
    assert is_loopback(host)
    loaded = load_text(
        f"servers: [{{name: m, host: '{host.rstrip('.')}', port: 1119, tls: none}}]", "u.yaml", {}
    )
    assert loaded.settings.servers[0].tls == "none"


@pytest.mark.parametrize(
    "host", ["news.example.com", "10.0.0.1", "::", "localhost.example.com", "127.0.0.1.nip.io"]
)
def test_no_other_machine_may_be_talked_to_in_clear(host: str) -> None:
    assert not is_loopback(host)
    assert "only for a server on this machine" in refusal(
        f"servers: [{{name: m, host: '{host}', tls: none}}]"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "folders: [{id: a, path: /srv/a}]",
            "u.yaml: warning: servers: there are folders but no news server",
        ),
        (
            SERVER.replace("}]", ", roles: [read]}]") + "folders: [{id: a, path: /srv/a}]",
            "no server has the role post",
        ),
        (
            SERVER.replace("}]", ", roles: [post]}]") + "folders: [{id: a, path: /srv/a}]",
            "no server has the role read",
        ),
        (
            "servers: [{name: m, host: h.example, username: a}]",
            "servers[0].username: a username without a password",
        ),
        (
            "servers: [{name: m, host: h.example, ca_file: /nonexistent/ca.pem}]",
            "there is no file /nonexistent/ca.pem",
        ),
        (
            "web: {listen: '0.0.0.0:8734', password: '${credential:web}'}",
            "web.listen: reachable from other machines without TLS",
        ),
    ],
)
def test_what_is_odd_but_possible_is_a_warning(text: str, expected: str) -> None:
    assert expected.removeprefix("u.yaml: ") in warnings(text)


def test_a_dashboard_that_others_can_reach_needs_a_password() -> None:
    assert "web.listen: other machines can reach this address" in refusal("web: {listen: '192.0.2.7:8734'}")
    assert "web.listen" not in warnings("web: {listen: '127.0.0.1:8734'}")


def test_folders_without_any_newsgroup_are_refused() -> None:
    text = SERVER + "newsgroups: []\nfolders: [{id: a, path: /srv/a}]"
    assert "newsgroups: no newsgroup to post the folder 'a' to" in refusal(text)
    assert not warnings(text.replace("/srv/a}", "/srv/a, newsgroups: [alt.a]}"))


def test_ten_thousand_folders_are_checked_quickly() -> None:
    named = [(f"f{number}", f"/srv/{number % 100}/{number}") for number in range(3000)]
    assert len(load_text(folders(*named), "u.yaml", {}).settings.folders) == 3000
