"""Who may ask: keys, organisations and projects, hosts and origins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import openai
import pytest

from completionist.api.routes import ROUTES
from completionist.settings import KeySettings, ServerSettings, Settings
from completionist.types.scopes import OPEN_HERE, SCOPES, Scope
from tests.conftest import Serve
from tests.support import raw
from tests.support.ask import ask
from tests.support.server import MODEL, RunningServer, running_server

KEY = "sk-proj-0123456789abcdef-last"
OTHER = "sk-proj-fedcba9876543210-last"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYED = Settings(
    server=ServerSettings(port=0, drain_timeout_s=0),
    keys=(
        KeySettings(sha256=digest(KEY), project="tides", organization="harbour"),
        KeySettings(sha256=digest(OTHER), project="other"),
        *(KeySettings(sha256=digest(scope), project="other", scopes=(scope,)) for scope in SCOPES),
    ),
)


@pytest.fixture(scope="module")
def keyed_server() -> Iterator[RunningServer]:
    with running_server(settings=KEYED) as server:
        yield server


def models(server: RunningServer, *headers: str, path: str = "/v1/models") -> raw.Reply:
    return raw.send(server.port, raw.request("GET", path, *headers))


def test_a_key_gives_its_project_to_the_answer_and_the_log(
    keyed_server: RunningServer, client_of: Callable[..., openai.OpenAI]
) -> None:
    answer = ask(client_of(keyed_server, api_key=KEY, organization="harbour", project="tides"))
    assert answer._request_id is not None
    assert keyed_server.access_line(answer._request_id)["project"] == "tides"
    reply = models(keyed_server, f"Authorization: bEaReR {OTHER}")
    assert (reply.status, reply.headers["openai-project"], reply.headers["openai-organization"]) == (
        200,
        "other",
        "default",
    )


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Authorization: Basic c2s6c2s=",),
        (f"Authorization: Basic {KEY}",),
        (f"Authorization: {KEY}",),
        ("Authorization: Bearer",),
        ("Authorization: Bearer ",),
        (f"Authorization: Bearer {KEY}", f"Authorization: Bearer {KEY}"),
        (f"api-key: {KEY}",),
    ],
)
def test_without_a_bearer_key_there_is_no_code(keyed_server: RunningServer, headers: tuple[str, ...]) -> None:
    reply = models(keyed_server, *headers, path=f"/v1/models?api_key={KEY}")
    assert (reply.status, reply.headers["www-authenticate"], reply.error["code"]) == (401, "Bearer", None)
    assert reply.error["message"].startswith("You didn't provide an API key.")
    assert "openai-project" not in reply.headers
    assert "openai-processing-ms" not in reply.headers


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("short", "*****"),
        ("sixteen-letters!", "*" * 16),
        ("sk-seventeen-long", "sk-**********long"),
        (KEY[:-1], None),
        (KEY.upper(), None),
        (f"{KEY} x", None),
        (f"{KEY}%0A", None),
        ("' OR '1'='1", "***********"),
        ("\xff\xfe\x80", "***"),
        ("x" * 30_000, "xxx" + "*" * 32 + "xxxx"),
    ],
)
def test_a_wrong_key_is_masked(keyed_server: RunningServer, key: str, shown: str | None) -> None:
    reply = models(keyed_server, f"Authorization: Bearer {key}")
    assert (reply.status, reply.headers["www-authenticate"], reply.error["code"]) == (401, "Bearer", "invalid_api_key")
    assert key not in reply.body.decode() or len(key) == 0
    if shown is not None:
        assert reply.error["message"].startswith(f"Incorrect API key provided: {shown}. ")


def test_a_megabyte_of_key_and_a_nul_are_no_http_we_read(keyed_server: RunningServer) -> None:
    assert models(keyed_server, "Authorization: Bearer " + "x" * 2**20).status == 431
    assert models(keyed_server, "Authorization: Bearer a\0b").status == 400


@pytest.mark.parametrize("kind", ["Organization", "Project"])
def test_names_must_fit_the_key(keyed_server: RunningServer, kind: str) -> None:
    reply = models(keyed_server, f"Authorization: Bearer {KEY}", f"OpenAI-{kind}: somebody")
    assert (reply.status, reply.error["code"]) == (401, f"mismatched_{kind.lower()}")
    assert reply.error["message"] == f"OpenAI-{kind} header should match {kind.lower()} for API key"
    assert models(keyed_server, f"Authorization: Bearer {KEY}", "OpenAI-Project: tides").status == 200


def test_every_route_asks_for_a_key_or_is_on_the_list(keyed_server: RunningServer) -> None:
    open_to_all = {("GET", "/openapi.json"), ("GET", "/health"), ("GET", "/health/live"), ("GET", "/health/ready")}
    open_here = {("GET", "/metrics")}  # for callers on this machine, as this test is one
    for route in ROUTES:
        path = route.path.replace("{model:path}", MODEL)
        reply = raw.send(keyed_server.port, raw.request(route.method, path))
        is_open = (route.method, route.path) in open_to_all | open_here
        assert (reply.status == 401) is not is_open, route


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_does_what_its_scope_says_and_nothing_else(keyed_server: RunningServer, scope: Scope) -> None:
    """Every row of the router's own table, with a key of one scope."""
    for route in ROUTES:
        if route.scope == "public" or route.scope in OPEN_HERE:
            continue
        path = route.path.replace("{model:path}", MODEL)
        reply = raw.send(keyed_server.port, raw.request(route.method, path, f"Authorization: Bearer {scope}"))
        is_missing = reply.status == 403 and f"Missing scopes: {route.scope}." in reply.error["message"]
        assert is_missing is (route.scope != scope), route


def test_the_key_is_checked_before_the_body_is_read(keyed_server: RunningServer) -> None:
    head = raw.request("POST", "/v1/chat/completions", "Content-Length: 1000000")
    assert raw.send(keyed_server.port, head).status == 401
    assert raw.send(keyed_server.port, raw.request("POST", "/nowhere")).status == 404  # the path goes first


def test_no_key_is_in_the_log(keyed_server: RunningServer, client_of: Callable[..., openai.OpenAI]) -> None:
    ask(client_of(keyed_server, api_key=KEY))
    models(keyed_server, f"Authorization: Bearer {KEY[:-1]}")
    assert not [line for line in keyed_server.log_lines() if KEY[:-1] in str(line) or digest(KEY) in str(line)]


def test_without_configured_keys_any_key_will_do_here(shared_server: RunningServer) -> None:
    assert models(shared_server).status == 200
    assert models(shared_server, "Authorization: Bearer whatever").status == 200
    assert models(shared_server, "OpenAI-Project: default").status == 200
    assert models(shared_server, "OpenAI-Project: somebody").error["code"] == "mismatched_project"


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:8000", "127.9.9.9", "[::1]:80", "LOCALHOST"])
def test_loopback_names_are_ours(shared_server: RunningServer, host: str) -> None:
    assert raw.send(shared_server.port, raw.request("GET", "/v1/models", host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::2]",
        "",
        "x@y",
        "[",
        None,
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/health", "/nowhere"])
def test_foreign_hosts_are_refused(shared_server: RunningServer, host: str | None, path: str) -> None:
    reply = raw.send(shared_server.port, raw.request("GET", path, host=host))
    assert (reply.status, reply.error["message"]) == (403, "Host or origin not allowed.")


def test_two_hosts_are_refused(shared_server: RunningServer) -> None:
    assert raw.send(shared_server.port, raw.request("GET", "/v1/models", "Host: localhost")).status in {400, 403}


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example", "x"])
def test_foreign_origins_are_refused(shared_server: RunningServer, method: str, origin: str) -> None:
    ask_first = ("Access-Control-Request-Method: POST",) if method == "OPTIONS" else ()
    sent = raw.request(method, "/v1/chat/completions", f"Origin: {origin}", *ask_first, body=raw.chat())
    reply = raw.send(shared_server.port, sent)
    assert reply.status == 403
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_pages_of_this_machine_may_ask(shared_server: RunningServer) -> None:
    assert models(shared_server, "Origin: http://localhost:3000").status == 200


def test_the_operator_can_allow_names(serve: Serve) -> None:
    server = serve(
        settings=Settings(server=ServerSettings(port=0, allowed_hosts=("Tides.example",), drain_timeout_s=0))
    )
    assert raw.send(server.port, raw.request("GET", "/v1/models", host="tides.example:8000")).status == 200
    assert raw.send(server.port, raw.request("GET", "/v1/models", host="x.tides.example")).status == 403


def test_a_public_server_takes_any_host_and_wants_a_key(serve: Serve) -> None:
    public = KEYED.model_copy(update={"server": KEYED.server.model_copy(update={"host": "0.0.0.0"})})  # noqa: S104 (only the rule, the socket is on loopback)
    server = serve(settings=public)
    authorized = raw.request("GET", "/v1/models", f"Authorization: Bearer {KEY}", host="tides.example")
    assert raw.send(server.port, authorized).status == 200
    assert raw.send(server.port, raw.request("GET", "/v1/models", host="tides.example")).status == 401
