"""The contract in other languages: `python -m gearshift_hls.generate` rewrites `hls/generated/`.

From `descriptor`, `build`, `fixed_point`, `records` and `registers` come the C++ header, the
SystemVerilog package and the tables of the documentation. `--check` writes nothing and fails when a
file is stale; a test does the same.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gearshift_hls.languages.cpp import header
from gearshift_hls.languages.markdown import documentation
from gearshift_hls.languages.verilog import package

FOLDER = Path(__file__).resolve().parent.parent / "generated"


def files() -> dict[str, str]:
    """What belongs into the folder, by name."""
    return {
        "contract.h": header(),
        "gearshift_pkg.sv": package(),
        "descriptors.md": documentation(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Write what is stale, or with --check only say it. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gearshift_hls.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a file is stale")
    check = parser.parse_args(arguments).check
    stale = {name: text for name, text in files().items() if _read(FOLDER / name) != text}
    for name, text in stale.items():
        if check:
            print(f"{FOLDER / name} is stale: run python -m gearshift_hls.generate")
        else:
            _write(FOLDER / name, text)
            print(f"wrote {FOLDER / name}")
    return 1 if check and stale else 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
