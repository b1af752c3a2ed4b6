"""What is refused before a backend is asked, and how."""

from __future__ import annotations

import json
from collections.abc import Callable

import openai
import pytest

from tests.conftest import Serve
from tests.support import raw
from tests.support.ask import ask
from tests.support.server import MODEL, SETTINGS, RunningServer

CREATE = "/v1/chat/completions"


def post(server: RunningServer, body: bytes, *headers: str) -> raw.Reply:
    return raw.send(server.port, raw.request("POST", CREATE, *headers, body=body))


@pytest.mark.parametrize("body", [b'{"model":"m","messages":[', b"", b"[]", b'"x"', b"null", b"1"])
def test_what_is_no_json_object_is_malformed(shared_server: RunningServer, body: bytes) -> None:
    reply = post(shared_server, body)
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, None, None)
    assert reply.error["message"].startswith("We could not parse the JSON body of your request.")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", "application/json, text/x"]
)
def test_another_content_type_is_refused(shared_server: RunningServer, content_type: str) -> None:
    reply = post(shared_server, raw.chat(), f"Content-Type: {content_type}")
    assert (reply.status, reply.error["code"]) == (400, "unsupported_content_type")
    assert reply.error["message"].startswith(
        f"Unsupported content type: '{content_type}'. This API method only accepts"
    )


def test_no_content_type_is_refused(shared_server: RunningServer) -> None:
    body = raw.chat()
    head = f"POST {CREATE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    reply = raw.send(shared_server.port, head.encode() + body)
    assert (reply.status, reply.error["code"]) == (400, "unsupported_content_type")
    assert reply.error["message"].startswith("Missing Content-Type header.")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_parameters_and_case_of_the_content_type_do_not_matter(shared_server: RunningServer, content_type: str) -> None:
    assert post(shared_server, raw.chat(), f"Content-Type: {content_type}").status == 200


@pytest.mark.parametrize("sent", ["x" * 513, "é"])
def test_a_bad_client_request_id_is_refused(shared_server: RunningServer, sent: str) -> None:
    reply = post(shared_server, raw.chat(), f"X-Client-Request-Id: {sent}")
    assert (reply.status, reply.error["code"]) == (400, None)
    assert reply.error["message"] == "Invalid 'X-Client-Request-Id' header: expected at most 512 ASCII characters."


def test_a_good_client_request_id_is_logged_and_not_echoed(shared_server: RunningServer) -> None:
    reply = post(shared_server, raw.chat(), "X-Client-Request-Id: " + "y" * 512)
    assert reply.status == 200
    assert shared_server.access_line(reply.headers["x-request-id"])["client_request_id"] == "y" * 512
    assert "y" * 512 not in str(reply.headers)


def test_unknown_models_go_before_unknown_fields(shared_server: RunningServer) -> None:
    reply = post(shared_server, raw.chat(model="nobody", grammar="x"))
    assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", None)
    assert reply.error["message"] == "The model `nobody` does not exist or you do not have access to it."
    reply = post(shared_server, raw.chat(grammar="x"))
    assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unknown_parameter", "grammar")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\0b", "http://localhost/", "x" * 10_000, "script\u0435d"])
def test_odd_model_names_are_only_unknown(shared_server: RunningServer, name: str) -> None:
    reply = post(shared_server, raw.chat(model=name))
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")
    assert len(reply.error["message"]) < 200


def test_unsupported_fields_reach_no_engine(shared_server: RunningServer) -> None:
    reply = post(shared_server, raw.chat(web_search_options={}))
    assert (reply.status, reply.error["code"], reply.error["param"]) == (
        400,
        "unsupported_parameter",
        "web_search_options",
    )


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/completions",
        "/v1/chat/completions/",
        "//v1//chat/completions",
        "/v1//chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1/chat/%63ompletions",
        "/v1/%2e%2e/v1/chat/completions",
        "/V1/chat/completions",
        "/v1/chat/Completions",
        "/v1/chat/completions;x",
        "/v1/chat/completions%00",
        "/v1/chat/completions/abc/",
        "/v1/chat/completions/abc/def",
        "/v1/models/",
        "/v1/openapi.json",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_spelling_of_a_path_is_another_path(shared_server: RunningServer, method: str, path: str) -> None:
    reply = raw.send(shared_server.port, raw.request(method, path, body=raw.chat() if method == "POST" else None))
    assert (reply.status, reply.error["code"], reply.error["param"]) == (404, None, None)
    assert reply.error["message"] == f"Invalid URL ({method} {path})"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", CREATE, "GET, POST"),
        ("PUT", CREATE, "GET, POST"),
        ("OPTIONS", CREATE, "GET, POST"),
        ("PUT", f"{CREATE}/abc", "DELETE, GET, POST"),
        ("DELETE", f"{CREATE}/abc/messages", "GET"),
        ("POST", "/v1/models", "GET"),
        ("PATCH", f"/v1/models/{MODEL}", "DELETE, GET"),
        ("POST", "/health", "GET"),
        ("DELETE", "/metrics", "GET"),
    ],
)
def test_other_methods_are_named_with_those_that_exist(
    shared_server: RunningServer, method: str, path: str, allow: str
) -> None:
    reply = raw.send(shared_server.port, raw.request(method, path))
    assert (reply.status, reply.error["code"], reply.headers["allow"]) == (405, "method_not_supported", allow)
    assert reply.error["message"] == f"Not allowed to {method} on {path}."


def test_query_parameters_are_ignored(shared_server: RunningServer) -> None:
    assert raw.send(shared_server.port, raw.request("GET", "/v1/models?api_key=x&y")).status == 200


def test_a_refusal_costs_nothing_and_is_counted(serve: Serve) -> None:
    server = serve()
    reply = post(server, raw.chat(n=0))
    assert (reply.status, reply.error["code"]) == (400, "integer_below_min_value")
    line = server.access_line(reply.headers["x-request-id"])
    assert (line["outcome"], line["status"], line["error_code"]) == ("refused", 400, "integer_below_min_value")
    assert server.metric("requests_refused_total", code="integer_below_min_value") == 1
    assert server.metric("requests_total", status="400") == 1
    assert server.engine.stats.running == server.engine.stats.waiting == 0


def test_the_official_client_raises_the_right_errors_and_does_not_retry(
    serve: Serve, client_of: Callable[..., openai.OpenAI]
) -> None:
    server = serve()
    client = client_of(server, max_retries=2)
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError, match="does not exist or you do not have access"):
            ask(client, model="nobody", stream=stream)
        with pytest.raises(openai.BadRequestError) as caught:
            ask(client, messages=[], stream=stream)
        assert (caught.value.code, caught.value.param) == ("empty_array", "messages")
        assert (caught.value.request_id or "").startswith("req_")
    with pytest.raises(openai.APIStatusError, match="Not allowed to PUT"):
        client.put("/chat/completions", cast_to=object)
    assert server.metric("requests_total", status="404") == 2
    assert server.metric("requests_total", status="400") == 2
    assert server.metric("requests_total", status="405") == 1


class TestBodyLimit:
    settings = SETTINGS.model_copy(update={"server": SETTINGS.server.model_copy(update={"max_body_bytes": 2048})})

    def test_an_honest_length_is_refused_before_the_body_is_read(self, serve: Serve) -> None:
        server = serve(settings=self.settings)
        reply = raw.send(
            server.port, raw.request("POST", CREATE, "Content-Length: 2049", "Content-Type: application/json")
        )
        assert (reply.status, reply.headers["connection"]) == (413, "close")
        assert reply.error["message"] == "The request body is larger than the limit of 2048 bytes."

    def test_without_a_length_the_running_total_counts(self, serve: Serve) -> None:
        server = serve(settings=self.settings)
        chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
        head = raw.request("POST", CREATE, "Transfer-Encoding: chunked", "Content-Type: application/json")
        assert raw.send(server.port, head, chunk * 3).status == 413
        body = raw.chat()
        within = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        assert raw.send(server.port, head, within).status == 200

    def test_the_client_sees_it_while_it_still_sends(
        self, serve: Serve, client_of: Callable[..., openai.OpenAI]
    ) -> None:
        client = client_of(serve(settings=self.settings))
        with pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "x" * 10_000_000}])
        assert caught.value.status_code == 413

    def test_at_the_limit_it_passes(self, serve: Serve) -> None:
        server = serve(settings=self.settings)
        body = raw.chat()
        assert post(server, body + b" " * (2048 - len(body))).status == 200
        assert post(server, body + b" " * (2049 - len(body))).status == 413


def test_bodies_are_not_indented_and_not_escaped(shared_server: RunningServer) -> None:
    reply = post(shared_server, raw.chat(model="é"))
    assert "é" in reply.body.decode()
    assert b"\n" not in reply.body
    assert json.loads(reply.body)["error"]["type"] == "invalid_request_error"
