import json
from typing import Any

import yaml

from usenetsyncd.settings.layers import default_document, load_settings, load_text
from usenetsyncd.settings.packaged import defaults_file, example_text
from usenetsyncd.settings.show import json_schema, render_show, show_document


def test_the_example_loads_without_errors_or_warnings_and_fits_a_hundred_lines() -> None:
    assert load_text(example_text(), environ={}).warnings == ()
    assert len(example_text().splitlines()) <= 100


def test_the_example_shows_every_key_that_there_is() -> None:
    text = example_text()
    schema = json_schema()
    names = {name for part in (schema, *schema["$defs"].values()) for name in part.get("properties", {})}
    assert [name for name in sorted(names) if f"{name}:" not in text and name not in text] == []


def test_the_example_says_what_the_defaults_are() -> None:
    example = load_text(example_text(), environ={}).settings
    packaged = load_settings(None, (), {}, root=True).settings
    assert example.defaults == packaged.defaults
    assert example.storage == packaged.storage
    assert example.newsgroups == packaged.newsgroups


def test_what_is_shown_loads_to_the_same_settings() -> None:
    for text in (example_text(), "retry: {502: {tries: 3}}\nnewsgroups: [alt.a]\n", ""):
        loaded = load_text(text, environ={})
        for with_origin in (False, True):
            shown = render_show(loaded, with_origin)
            assert load_text(shown, environ={}).settings == loaded.settings


def test_what_is_shown_is_plain_yaml_for_everybody() -> None:
    shown = yaml.safe_load(render_show(load_text(example_text(), environ={}), with_origin=True))
    assert shown["servers"][0]["password"] == "${credential:main}"
    assert shown["limits"]["upload"] == "8 MB/s"


def test_each_value_shows_where_it_was_set() -> None:
    loaded = load_settings(None, ("limits.download=1 MB/s",), {"USENETSYNCD_LOG__LEVEL": "debug"}, root=True)
    lines = [line.split() for line in render_show(loaded, with_origin=True).splitlines()]
    assert ["download:", "1", "MB/s", "#", "--set", "limits.download"] in lines
    assert ["level:", "debug", "#", "environment", "variable", "USENETSYNCD_LOG__LEVEL"] in lines
    assert ["upload:", "0", "#", "default"] in lines


def test_the_document_is_json_with_origins_beside_it() -> None:
    loaded = load_text(example_text(), "u.yaml", {})
    document: dict[str, Any] = json.loads(json.dumps(show_document(loaded, with_origin=True)))
    assert document["settings"]["folders"][1] == {
        "id": "photos", "path": "/srv/photos", "priority": "low", "guard": {"max_deleted": "10%"},
    }  # fmt: skip
    assert document["origins"]["servers[0].connections"] == "u.yaml:13:18"
    assert document["origins"]["folders[1].guard.max_deleted"].startswith("u.yaml:51:")
    assert "origins" not in show_document(loaded)


def test_a_file_needs_nothing_that_has_a_default() -> None:
    schema = json_schema()
    assert "required" not in schema
    assert "required" not in schema["$defs"]["Limits"]
    assert schema["$defs"]["Limits"]["properties"]["memory"]["default"] == "512 MiB"
    assert schema["$defs"]["ServerSettings"]["required"] == ["name", "host"]
    assert schema["$defs"]["FolderSettings"]["required"] == ["id", "path"]
    json.dumps(schema)


def test_the_packaged_defaults_stand_beside_the_checkout_or_in_the_package() -> None:
    assert defaults_file().name == "usenetsyncd.yaml"
    assert default_document()["version"] == "1"
