"""A server as Triton is one: models by the Open Inference Protocol in plain JSON, whole numbers as
versions, no card, and no extension that we know. It shares no code with the library.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Triton(ThreadingHTTPServer):
    """Models by name. answer: what becomes of an answer before it is sent; tests spoil it.
    connections: how many were opened; drop: so many requests end without an answer."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self.models = {
            path.parent.name: onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            for path in root.glob("recipes/*/model.onnx")
        }
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.version = "1"
        self.status = 200
        self.spoil: Any = lambda answer: answer
        self.drop = 0
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Triton

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        parts = self.path.split("/")
        if self.path == "/v2":
            self.answer({"name": "triton", "version": "2.50.0", "extensions": ["classification"]})
        elif parts[1:3] == ["v2", "models"] and parts[3] in self.server.models:
            model = self.server.models[parts[3]]
            self.answer(
                {
                    "name": parts[3],
                    "versions": [self.server.version],
                    "platform": "onnxruntime_onnx",
                    "inputs": [described(one) for one in model.get_inputs()],
                    "outputs": [described(one) for one in model.get_outputs()],
                }
            )
        else:
            self.answer({"error": "unknown model"}, 400)

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.drop:
            self.server.drop -= 1
            self.close_connection = True
            return
        name = self.path.split("/")[3]
        given = {
            one["name"]: np.array(one["data"], np.float32).reshape(one["shape"])
            for one in sent["inputs"]
        }
        (logits,) = self.server.models[name].run(["logits"], given)
        output = {"name": "logits", "datatype": "FP32", "shape": list(logits.shape)}
        self.answer(
            self.server.spoil(
                {
                    "model_name": name,
                    "model_version": self.server.version,
                    "outputs": [output | {"data": logits.astype(float).ravel().tolist()}],
                }
            ),
            self.server.status,
        )

    def answer(self, said: Any, status: int = 200) -> None:
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def described(tensor: Any) -> dict[str, Any]:
    shape = [-1 if isinstance(size, str) else size for size in tensor.shape]
    return {"name": tensor.name, "datatype": "FP32", "shape": shape}


@contextmanager
def triton(root: Path) -> Iterator[Triton]:
    """Such a server for the models of a repository, as long as this lasts."""
    server = Triton(root)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
