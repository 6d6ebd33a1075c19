"""`python -m shared.contracts.generate`: writes the schema files, and refuses a change that readers could not follow."""

from __future__ import annotations

import json
import sys

from shared.contracts.schemas import SCHEMA_FOLDER, all_schemas, as_text, incompatibilities


def main() -> int:
    """Writes all files, or none and returns 1 when a published event would change incompatibly."""
    schemas = all_schemas()
    problems = [f"{name}: {problem}" for name, schema in schemas.items() for problem in _problems(name, schema)]
    if problems:
        sys.stderr.write("\n".join([*problems, "An incompatible change needs a new event version and topic.", ""]))
        return 1
    SCHEMA_FOLDER.mkdir(exist_ok=True)
    for name, schema in schemas.items():
        (SCHEMA_FOLDER / f"{name}.json").write_text(as_text(schema), "utf-8")
    return 0


def _problems(name: str, schema: dict[str, object]) -> list[str]:
    stored = SCHEMA_FOLDER / f"{name}.json"
    return incompatibilities(json.loads(stored.read_text("utf-8")), schema) if stored.exists() else []


if __name__ == "__main__":
    sys.exit(main())
