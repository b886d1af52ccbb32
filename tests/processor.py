"""The same computation in a process whose NumPy uses none of the processor's newer instructions."""

import os
import subprocess
import sys

import numpy as np

_FEATURES = "np.show_config(mode='dicts')['SIMD Extensions'].get('found', [])"


def without_features(module: str) -> str:
    """What `module`.digest() gives there; the features are read when NumPy is imported."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    child = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import numpy as np; from {module} import digest; print(digest(), {_FEATURES})",
        ],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(found)},
        capture_output=True,
        text=True,
        check=True,
    )
    digest, left = child.stdout.split(maxsplit=1)
    assert left == "[]\n"
    return digest
