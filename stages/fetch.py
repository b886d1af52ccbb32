"""fetch: the data set's files, exactly as published, verified -> data/raw."""

from pathlib import Path

from retrace import params, sources
from retrace.errors import reported
from retrace.files import new_folder
from retrace.synthesis import synthesise

RAW = Path("data/raw")
STAGES = Path("stages")


def main() -> None:
    settings = params.load(Path("params.yaml"))
    name = settings.dataset.name
    if name == "synthetic":
        with new_folder(RAW) as folder:
            synthesise(folder, **settings.synthetic.model_dump())
    elif name in ("wfdb_folder", "collected"):
        own = Path(str(settings.fetch.folder)), STAGES / "sources" / f"{name}.sha256"
        if name == "wfdb_folder":
            sources.copy_folder(*own, RAW)
        else:
            with new_folder(RAW) as folder:
                sources.fetch("mitdb", folder / "mitdb", sources=STAGES)
                sources.copy_folder(*own, folder / "own")
    else:
        sources.fetch(name, RAW, sources=STAGES, form=settings.fetch.form)
    files = [path for path in RAW.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    print(f"{name}: {len(files)} files, {size / 1e6:.1f} MB in {RAW}")


if __name__ == "__main__":
    with reported():
        main()
