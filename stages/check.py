"""check: every value of params.yaml, before DVC removes what another stage would replace."""

from pathlib import Path

from retrace import params
from retrace.errors import reported
from retrace.files import new_file

CHECKED = Path("data/params.ok")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    with new_file(CHECKED) as part:
        part.write_text("params.yaml is valid\n", encoding="utf-8")  # always: nothing re-runs
    print(f"params.yaml: valid; {settings.dataset.name}, {settings.model.name}")


if __name__ == "__main__":
    with reported():
        main()
