"""How a command ends that cannot go on: in one line on stderr."""

import argparse
import contextlib
import io
import sys


def fail(program, error, status=1):
    """Says why a command ends.

    Args:
        program: String, such as `"ratn train"`.
        error: Exception or string. Its lines become one.
        status: Integer. Defaults to `1`.

    Returns:
        `status`, for the command to return.
    """
    print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _wrong_usage(program, message):
    help_line = f"See `{program} --help`."
    raise SystemExit(fail(program, f"{message.rstrip('.')}. {help_line}", 2))


class Parser(argparse.ArgumentParser):
    """argparse's parser, which says wrong usage in one line."""

    def error(self, message):
        _wrong_usage(self.prog, message)


def parse(kind, prog, **options):
    """`tyro.cli`, which says wrong usage in one line.

    Args:
        kind: Dataclass that the command line fills.
        prog: String. What the command is called.
        **options: As `tyro.cli` takes them.
    """
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, prog=prog, **options)
    except SystemExit as end:
        if not end.code:  # the help
            raise
        message = _in_box(said.getvalue())
    _wrong_usage(prog, message)


def _in_box(text):
    """The first section of what tyro frames, without its frame."""
    lines = [line.strip("│ ") for line in text.splitlines()]
    lines = [line for line in lines if not line.startswith(("╭", "╰"))]
    rules = [i for i, line in enumerate(lines) if line.startswith("─")]
    return " ".join(lines[: rules[0] if rules else None])
