"""Rows 40 to 42 and 45 to 47: keys, browsers, public addresses, and what is logged."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from completionist.api.routes import ROUTES
from completionist.cli import run
from completionist.settings import DEFAULT_MODEL
from tests.abuse.invariants import CREATE, KEY, OTHER_KEY, Abuse
from tests.support import raw
from tests.support.server import eventually

WRONG = "sk-proj-0123456789abcdef-lost"

OPEN_TO_ALL = {("GET", path) for path in ("/health", "/health/live", "/health/ready", "/openapi.json")}
OPEN_HERE = {("GET", "/metrics")}
"""For callers on this machine, as these tests are."""


NO_KEYS: tuple[tuple[str, ...], ...] = (
    (),
    ("Authorization: Basic c2s6c2s=",),
    (f"Authorization: Basic {KEY}",),
    (f"Authorization: {KEY}",),
    ("Authorization: Bearer",),
    ("Authorization: Bearer  ",),
    (f"Authorization: Bearer {KEY}", f"Authorization: Bearer {OTHER_KEY}"),
    (f"api-key: {KEY}", f"Cookie: key={KEY}"),
)


def test_row_40_no_key(abuse: Abuse) -> None:
    for headers in NO_KEYS:
        for path in ("/v1/models", f"/v1/models?api_key={KEY}&key={KEY}"):
            refused = abuse.get(path, *headers, key=None)
            seen = (refused.status, refused.headers["www-authenticate"], refused.error["code"])
            assert seen == (401, "Bearer", None), headers


def test_row_40_wrong_keys(abuse: Abuse) -> None:
    for key in (
        WRONG, KEY[:-1], KEY + "x", KEY.upper(), f"{KEY} x", f"{KEY[:5]} {KEY[5:]}", f"{KEY}%0A", f"{KEY},{KEY}", "x",
    ):  # fmt: skip
        refused = abuse.get("/v1/models", key=key)
        assert (refused.status, refused.headers["www-authenticate"]) == (401, "Bearer"), key
        assert refused.error["code"] == "invalid_api_key"
        assert key not in refused.error["message"] or len(key) == 1
        assert key == "x" or key not in abuse.served.log_text()


def test_row_40_the_key_goes_before_the_body(abuse: Abuse) -> None:
    head = abuse.request("POST", CREATE, "Content-Length: 100000000", "Content-Type: application/json", key=WRONG)
    refused = abuse.send(head)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


PARAMETERS = {
    "{model:path}": DEFAULT_MODEL,
    "{completion_id}": "chatcmpl-" + "0" * 29,
    "{file_id}": "file-" + "0" * 22,
}
"""What stands for them in requests."""


def test_row_41_every_route_wants_a_key_or_is_on_the_list(abuse: Abuse) -> None:
    for route in ROUTES:
        path = route.path
        for parameter, value in PARAMETERS.items():
            path = path.replace(parameter, value)
        assert "{" not in path, "say what this route's parameter is in a request"
        for key in (None, WRONG):
            answer = abuse.send(abuse.request(route.method, path, key=key))
            is_open = (route.method, route.path) in OPEN_TO_ALL | OPEN_HERE
            assert (answer.status == 401) is not is_open, route


ODD_KEYS = {
    "' OR '1'='1": {401},
    '" OR 1=1; DROP TABLE keys; --': {401},
    "x" * 30_000: {401},
    "\xff\xfe\x80": {401},
    "\u00e9" * 100: {401},
    "x" * 2**20: {401, 431},
    "a\0b": {400, 401},
    "a\x7fb": {400, 401},
}


def test_row_42_odd_keys(abuse: Abuse) -> None:
    for key, statuses in ODD_KEYS.items():
        refused = abuse.push(abuse.request("GET", "/v1/models", "Connection: close", key=key))
        assert refused is not None or len(key) == 2**20
        assert refused is None or refused.status in statuses, key


def test_row_45_foreign_hosts(abuse: Abuse) -> None:
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.nip.example"):
        for method, path in (("GET", "/v1/models"), ("POST", CREATE), ("GET", "/health"), ("GET", "/metrics")):
            sent = raw.request(method, path, f"Authorization: Bearer {KEY}", body=abuse.body(), host=host)
            check_forbidden(abuse.send(sent))


def test_row_45_foreign_origins(abuse: Abuse) -> None:
    asking = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization, content-type")
    for origin in ("https://evil.example", "http://localhost.evil.example", "null"):
        simple = abuse.request("POST", CREATE, f"Origin: {origin}", "Content-Type: text/plain", body=abuse.body())
        preflight = abuse.request("OPTIONS", CREATE, f"Origin: {origin}", *asking, key=None)
        reading = abuse.request("GET", "/v1/models", f"Origin: {origin}")
        for sent in (simple, preflight, reading):
            check_forbidden(abuse.send(sent))


def check_forbidden(refused: raw.Reply) -> None:
    assert refused.status == 403
    assert not [name for name in refused.headers if name.startswith("access-control")]


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 (it must be refused)
def test_row_46_a_public_address_without_a_key(host: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:  # had it tried to listen, it would speak of the port
        command = ["completionist", "serve", "--scripted", "--host", host, "--port", str(taken.getsockname()[1])]
        refused = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert refused.returncode != 0
    assert refused.stdout == ""
    for way_out in ("keys create", "[[keys]]", "127.0.0.1", "proxy"):
        assert way_out in refused.stderr


NASTY = "a\r\nb\x1b[2J\u202ec\x7f\u2028<script>"


def test_row_47_what_clients_name_is_one_escaped_line(abuse: Abuse) -> None:
    """The invariants: every request has exactly one line, and all of it is printable."""
    replies = [
        abuse.create(user=NASTY, metadata={NASTY[:20]: NASTY}),
        abuse.create(safety_identifier=NASTY),
        abuse.create(model=NASTY),
        abuse.create(model=NASTY + "x" * 2**20),
        abuse.get("/" + "%0d%0a%1b%5b2J" + "x" * 1000),
        abuse.get("/v1/models", f"X-Client-Request-Id: {'x' * 500}", "User-Agent: <script>alert(1)</script>"),
    ]
    assert [reply.status for reply in replies] == [200, 200, 404, 404, 404, 200]


def test_row_40_keys_of_the_database(abuse: Abuse, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deleted, revoked and expired ones are wrong keys like any other; a rotated one is the new key alone."""
    config = tmp_path / "completionist.toml"
    config.write_text(f"[store]\nurl = 'sqlite:///{abuse.served.directory}/completionist/completionist.db'\n")

    def command(*arguments: str) -> dict[str, str]:
        assert run([*arguments, "--config", str(config)]) == 0
        printed = capsys.readouterr().out
        return json.loads(printed) if printed.startswith("{") else {}

    def eventually_answers(key: str, status: int) -> None:
        eventually(lambda: Abuse(abuse.served).get("/v1/models", key=key).status == status)

    deleted, revoked, rotated = (command("keys", "create", "--json") for _ in range(3))
    expired = command("keys", "create", "--expires", "3s", "--json")
    for made in (deleted, revoked, rotated):
        eventually_answers(made["key"], 200)
    command("keys", "delete", deleted["id"])
    command("keys", "revoke", revoked["id"])
    new = command("keys", "rotate", rotated["id"], "--json")
    eventually_answers(new["key"], 200)
    for made in (deleted, revoked, rotated, expired):
        eventually_answers(made["key"], 401)
        refused = abuse.get("/v1/models", key=made["key"])
        assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
        assert made["key"] not in refused.error["message"]
        assert made["key"] not in abuse.served.log_text()
    for made in (new, revoked, expired):
        command("keys", "delete", made["id"])
