"""Segments in an uploaded .npy file, and the signal domain that was sent with them."""

from dataclasses import replace

import numpy as np
import orjson

from retrace.deploy.inputs import Ready, Refused, open_inputs
from retrace.deploy.plausible import check_domain
from retrace.errors import InputError
from retrace.service.pool import Model
from retrace.service.problems import Problem
from retrace.service.settings import Settings
from retrace.service.uploads import Upload

MOST = 100_000  # segments; the test part of MIT-BIH has half as many


def opened(upload: Upload, model: Model, settings: Settings) -> Ready:
    """The segments of an upload of one file with its field "domain".

    Raises Problem or InputError for more or other files, for another domain than the model's, and
    for what is too much at once.
    """
    if len(upload.paths) != 1 or upload.paths[0].suffix.lower() != ".npy":
        raise Problem(422, "files: one .npy file of segments is taken; a recording goes elsewhere")
    (path,) = upload.paths
    assert model.card is not None
    try:
        domain = orjson.loads(upload.fields["domain"])
    except KeyError:
        raise Problem(
            422,
            f"{path.name}: without its signal domain nobody knows what the numbers are: send the "
            "domain.json beside it too, with curl -F 'domain=<domain.json'",
        ) from None
    except orjson.JSONDecodeError:
        raise Problem(
            422, "domain: no JSON; it is what domain.json beside the array says"
        ) from None
    check_domain(path.name, domain, model.card)
    try:  # the header alone, before the numbers fill the memory
        values = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except Exception:  # `open_inputs` says what is wrong
        values = ()
    if 4 * int(np.prod(values, dtype=object)) > settings.largest_upload or values[:1] > (MOST,):
        raise InputError(f"{path.name}: shape {values}; too much at once: divide the file")
    (found,) = open_inputs([path])
    if isinstance(found, Refused):
        raise InputError(found.why.replace(f"{path.parent}/", ""))
    if not isinstance(found, Ready):
        raise InputError(f"{path.name}: no segments, but a signal: POST /predict/recording")
    X = found.X[None] if found.X.shape == model.card.shape else found.X  # one row, as it was taken
    return replace(found, name=path.name, X=X)
