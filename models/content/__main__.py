"""`python -m models.content KIND …`: learn from a folder of labelled content and predict the rest,
or make vectors of texts."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence

import torch

from contracts.errors import NightjarError, UsageError
from models.progress import show_progress

KINDS: Mapping[str, str] = {
    "texts": "models.content.text.command",
    "images": "models.content.images.command",
    "encode": "models.content.encode_command",
}
"""What may be asked for, and the module that adds its options and executes it; it is imported when
it is asked for, for each brings libraries that the others do not need."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 data stopped it, 2 the call was wrong."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(prog="python -m models.content", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    if not given or given[0] not in KINDS:
        parser.parse_args(given)
    command = importlib.import_module(KINDS[given[0]])
    options = argparse.ArgumentParser(
        prog=f"python -m models.content {given[0]}", description=command.__doc__
    )
    command.add_options(options)
    torch.set_num_threads(1)
    show_progress()
    try:
        command.execute(options.parse_args(given[1:]))
    except NightjarError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
