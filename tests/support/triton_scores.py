"""Scores through Triton's client, which others wrote; runs in an environment of its own, without Baton.

Usage: ``python triton_scores.py URL TOKEN RECORDS``, a JSON file of records; writes what came back as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main(url: str, token: str, path: str) -> None:
    import numpy as np
    import tritonclient.http as triton  # type: ignore[import-not-found]  # in its own environment alone

    def tensor(name: str, datatype: str, values: list[Any], *, binary: bool) -> Any:
        kind: Any = np.float64 if datatype == "FP64" else np.object_
        column = np.array([value.encode() if isinstance(value, str) else value for value in values], kind)
        made = triton.InferInput(name, list(column.shape), datatype)
        made.set_data_from_numpy(column, binary_data=binary)
        return made

    def shown() -> dict[str, str]:  # the client adds to what it is given
        return {"Authorization": f"Bearer {token}"}

    client = triton.InferenceServerClient(url.removeprefix("http://"))
    records = json.loads(Path(path).read_text())
    metadata = client.get_model_metadata("small", headers=shown())
    datatypes = {told["name"]: told["datatype"] for told in metadata["inputs"]}
    found: dict[str, Any] = {
        "live": client.is_server_live(headers=shown()),
        "ready": client.is_model_ready("small", headers=shown()),
        "versions": metadata["versions"],
    }
    for form in ("bytes", "json"):
        binary = form == "bytes"
        inputs = [
            tensor(name, datatype, [record[name] for record in records], binary=binary)
            for name, datatype in datatypes.items()
        ]
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("score", "decision")]
        answer = client.infer("small", inputs, outputs=outputs, headers=shown())
        found[form] = {name: answer.as_numpy(name).tolist() for name in ("score", "decision")}
    try:
        client.infer("small", [tensor("x", "FP64", [0.5], binary=False)], headers=shown())
    except triton.InferenceServerException as error:
        found["refused"] = [error.status(), error.message()]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
