"""The predictor by the Open Inference Protocol: exact numbers, and nothing from bad ones."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi import Response
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from starlette.testclient import TestClient

from retrace.service import protocol
from retrace.service.protocol import create_predictor
from retrace.service.protocol_tensors import HEAD, Malformed, pack, unpack
from retrace.service.served import MOST
from tests.predictors import FEATURES, PLAIN, RHYTHM, both, session, some, thread
from tests.serving import service_settings

INFER = f"/v2/models/{PLAIN}/infer"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def client(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = service_settings(tmp_path_factory.mktemp("home"), root=root, models="")
    with TestClient(create_predictor(settings)) as client:
        yield client


def request(count: int = 1, **changes: Any) -> dict[str, Any]:
    """A request for PLAIN, with changes in its tensor."""
    tensor = {"name": "segments", "shape": [count, 1, 187], "datatype": "FP32"}
    return {"inputs": [tensor | {"data": [0.5] * 187 * count} | changes]}


def test_the_server_and_its_models_say_what_they_are(client: TestClient, root: Path) -> None:
    server = client.get("/v2").json()
    said = client.get(f"/v2/models/{RHYTHM}").json()
    version = session(root, RHYTHM).card.hashes["weights"][:12]

    assert server["name"] == "retrace"
    assert server["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get(f"/v2/models/{RHYTHM}/versions/{version}/ready").status_code == 200
    assert said["versions"] == [version]
    assert said["inputs"] == [
        {"name": "segments", "datatype": "FP32", "shape": [-1, 1, 187]},
        {"name": "features", "datatype": "FP32", "shape": [-1, len(FEATURES)]},
    ]
    assert said["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]


@pytest.mark.parametrize("name", [PLAIN, RHYTHM])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("count", [1, 64, 200])
def test_logits_are_the_sessions_to_the_last_bit(
    client: TestClient, root: Path, name: str, binary: bool, count: int
) -> None:
    local = session(root, name)
    X, features = some(local.card, count)
    tensors = {"segments": X} | ({"features": features} if local.card.features else {})
    head = {"id": "a1", "parameters": {"binary_data_output": binary}}
    content, headers = pack("inputs", head, tensors, binary)

    answer = client.post(f"/v2/models/{name}/infer", content=content, headers=headers)
    message = unpack("outputs", answer.content, answer.headers.get(HEAD))

    steps = [slice(start, start + 64) for start in range(0, count, 64)]
    expected = np.concatenate([local.logits(X[rows], features[rows]) for rows in steps])
    assert message.head["model_name"] == name
    assert message.head["id"] == "a1"
    assert (HEAD in answer.headers) == binary
    assert message.tensors["logits"].tobytes() == expected.tobytes()


def test_flat_and_nested_numbers_are_the_same_row_by_row(client: TestClient, root: Path) -> None:
    X, _ = some(session(root, PLAIN).card, 3)
    flat = client.post(INFER, json=request(3, data=X.ravel().tolist()))
    nested = client.post(INFER, json=request(3, data=X.tolist()))

    assert flat.status_code == nested.status_code == 200
    assert flat.json() == nested.json()
    assert flat.json()["outputs"][0]["shape"] == [3, 3]


@given(
    X=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=1, max_dims=4, max_side=5),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    binary=st.booleans(),
)
def test_any_finite_numbers_arrive_as_they_were_sent(X: Any, binary: bool) -> None:
    content, headers = pack("inputs", {}, {"a": X, "b": X[:1]}, binary)
    tensors = unpack("inputs", content, headers.get(HEAD)).tensors

    assert tensors["a"].tobytes() == X.tobytes()
    assert tensors["a"].shape == X.shape
    assert tensors["b"].tobytes() == X[:1].tobytes()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "not JSON"),
        ("[]", "inputs: missing"),
        ("{}", "inputs: missing"),
        ({"inputs": []}, "inputs: missing"),
        ({"inputs": [3]}, "without a name"),
        (request(name="signal"), "takes the tensors segments"),
        (request(datatype="FP64"), "must be FP32"),
        (request(datatype=["FP32"]), "must be FP32"),
        (request(shape=[1, 1, 188]), "must be 188 numbers"),
        (request(shape=[187, 1, 1]), r"must be \[187, 1, 187\]"),
        (request(shape=[1, -1, 187]), "whole numbers above 0"),
        (request(shape=[0, 1, 187], data=[]), "whole numbers above 0"),
        (request(shape=[1.0, 1, 187]), "whole numbers above 0"),
        (request(shape=[True, 1, 187]), "whole numbers above 0"),
        (request(shape=[2**40, 2**40, 187]), "numbers, flat or nested"),
        (request(shape=[1] * 40), "whole numbers above 0"),
        (request(data=None), "must be 187 numbers"),
        (request(data="1" * 187), "must be 187 numbers"),
        (request(data=[[0.5] * 100, [0.5] * 87]), "must be 187 numbers"),
        (request(data=["0.5"] * 187), "no number"),
        (request(data=[True] * 187), "no number"),
        (request(data=[None] * 187), "no number"),
        (request(data=[1e39] * 187), "not finite"),
        (json.dumps(request(data=[float("nan")] * 187)), "not JSON"),
        (json.dumps(request()).replace("0.5", "1e999"), "not finite|not JSON"),
        (request(parameters=3), "not an object"),
        (request(parameters={"binary_data_size": 748}), "must stand in one place"),
        ({"inputs": request()["inputs"] * 2}, "there twice"),
        (request() | {"id": 3}, "id; it must be a string"),
        (request() | {"outputs": [{"name": "softmax"}]}, "outputs; there is one, logits"),
        (request() | {"outputs": 3}, "outputs; there is one, logits"),
        (
            request() | {"outputs": [{"name": "logits", "parameters": {"classification": 1}}]},
            "no classification",
        ),
        (request() | {"parameters": {"binary_data_output": "yes"}}, "true or false"),
    ],
)
def test_what_breaks_the_protocol_is_refused_in_its_own_form(
    client: TestClient, body: Any, said: str
) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = client.post(INFER, content=content)

    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(answer.json()["error"])


def behind(body: dict[str, Any], numbers: bytes, length: Callable[[int], Any]) -> Any:
    text = json.dumps(body).encode()
    return {"content": text + numbers, "headers": {HEAD: str(length(len(text)))}}


SENT = {"inputs": [{"name": "segments", "shape": [1, 1, 187], "datatype": "FP32"}]}


def sized(size: Any) -> dict[str, Any]:
    return {"inputs": [SENT["inputs"][0] | {"parameters": {"binary_data_size": size}}]}


@pytest.mark.parametrize(
    ("body", "numbers", "length"),
    [
        (sized(748), bytes(747), lambda n: n),  # too few
        (sized(748), bytes(749), lambda n: n),  # too many
        (sized(744), bytes(748), lambda n: n),
        (sized("748"), bytes(748), lambda n: n),
        (sized(-4), bytes(748), lambda n: n),
        (sized(748), np.full(187, np.nan, np.float32).tobytes(), lambda n: n),
        (sized(748), bytes(748), lambda n: n - 1),
        (sized(748), bytes(748), lambda n: n + 749),
        (sized(748), bytes(748), lambda n: -n),
        (sized(748), bytes(748), lambda n: ""),
        (sized(748), bytes(748), lambda n: "9" * 30),
        (SENT, bytes(748), lambda n: n),  # numbers that belong to nothing
    ],
)
def test_numbers_behind_the_head_must_be_what_it_says(
    client: TestClient, body: dict[str, Any], numbers: bytes, length: Callable[[int], Any]
) -> None:
    assert client.post(INFER, **behind(sized(748), bytes(748), lambda n: n)).status_code == 200

    answer = client.post(INFER, **behind(body, numbers, length))

    assert answer.status_code == 400
    assert answer.json().keys() == {"error"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/nobody"),
        ("GET", f"/v2/models/{PLAIN}/versions/1"),
        ("POST", "/v2/models/nobody/infer"),
        ("POST", f"/v2/models/{PLAIN}/versions/000000000000/infer"),
        ("GET", "/v2/nothing"),
    ],
)
def test_other_models_and_versions_are_not_found(
    client: TestClient, method: str, path: str
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == 404
    assert answer.json().keys() == {"error"}


def test_too_many_segments_too_many_bytes_and_packed_ones_are_refused(
    client: TestClient, root: Path, tmp_path: Path
) -> None:
    X = np.zeros((MOST + 1, 1, 187), np.float32)
    content, headers = pack("inputs", {}, {"segments": X}, binary=True)
    small = service_settings(tmp_path, root=root, models="", largest_upload=5000, largest_body=1000)
    beat = {"segments": X[:1]}

    assert client.post(INFER, content=content, headers=headers).status_code == 413
    assert client.post(INFER, content=b"", headers={"Content-Encoding": "gzip"}).status_code == 415
    with TestClient(create_predictor(small)) as strict:
        assert strict.post(INFER, json=request(7)).status_code == 413
        json_only, _ = pack("inputs", {}, beat, binary=False)
        assert strict.post(INFER, content=json_only + b" " * 500).status_code == 413
        content, headers = pack("inputs", {}, beat, binary=True)
        assert strict.post(INFER, content=content, headers=headers).status_code == 200


def test_a_damaged_model_is_not_ready_and_the_others_answer(tmp_path: Path) -> None:
    root = both(tmp_path)
    (root / "recipes" / RHYTHM / "model.onnx").write_bytes(b"damaged")
    with TestClient(create_predictor(service_settings(tmp_path, root=root, models=""))) as client:
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get(f"/v2/models/{RHYTHM}/ready").status_code == 503
        assert "not the file that was published" in client.get(f"/v2/models/{RHYTHM}").text
        assert client.get(f"/v2/models/{PLAIN}/ready").status_code == 200
        assert client.post(INFER, json=request()).status_code == 200


def test_a_name_that_is_served_by_nobody_is_not_ready(tmp_path: Path) -> None:
    settings = service_settings(tmp_path, root=both(tmp_path), models=f"{PLAIN},nobody")
    with TestClient(create_predictor(settings)) as client:
        assert client.get("/v2/health/ready").status_code == 503


def test_a_message_without_tensors_is_malformed() -> None:
    with pytest.raises(Malformed, match="outputs: missing"):
        unpack("outputs", b'{"error": "no"}', None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(width=32) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
TENSOR = st.fixed_dictionaries(
    {"name": JSON | st.just("a"), "shape": JSON | st.just([2]), "datatype": JSON | st.just("FP32")},
    optional={"data": JSON | st.just([1, 2]), "parameters": JSON},
)


@given(
    head=JSON | st.fixed_dictionaries({"inputs": st.lists(TENSOR, max_size=3) | JSON}),
    behind=st.binary(max_size=16),
    length=st.none() | st.text(max_size=3) | st.just("whole"),
)
def test_whatever_comes_is_a_message_or_malformed(head: Any, behind: bytes, length: Any) -> None:
    text = json.dumps(head).encode()
    try:
        unpack("inputs", text + behind, str(len(text)) if length == "whole" else length)
    except Malformed as error:
        assert len(str(error)) < 300


def test_deep_lists_are_malformed() -> None:
    for depth in (60, 70, 2000):
        deep = "[" * depth + "]" * depth
        tensor = json.dumps({"name": "a", "shape": [1], "datatype": "FP32", "data": "deep"})
        body = f'{{"inputs": [{tensor}]}}'.replace('"deep"', deep)
        with pytest.raises(Malformed):
            unpack("inputs", body.encode(), None)


def test_more_requests_than_it_takes_at_a_time_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, over = threading.Event(), threading.Event()

    def slow(*_: Any) -> Response:
        begun.set()
        over.wait(10)
        return Response("{}")

    monkeypatch.setattr(protocol, "_infer", slow)
    settings = service_settings(tmp_path, root=root, models="", concurrent=1)
    with thread(create_predictor(settings)) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx2.post, url + INFER, json=request())
        assert begun.wait(10)
        second = httpx2.post(url + INFER, json=request())
        over.set()

        assert first.result().status_code == 200
        assert second.status_code == 503
        assert "Retry-After" in second.headers
