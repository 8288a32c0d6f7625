"""Mostly by hand; says at the end what became of the cases."""

import os

if not os.environ.get("RATN_FUZZ"):
    # Folders are read in seconds; the others build networks or commands.
    collect_ignore = [
        "test_architectures.py",
        "test_command_lines.py",
        "test_graphs.py",
    ]


def pytest_terminal_summary(terminalreporter):
    if not os.environ.get("RATN_FUZZ"):
        return
    from fuzz import profile

    terminalreporter.section("fuzz")
    for test, outcomes in sorted(profile.TALLY.items()):
        found = ", ".join(f"{n} {name}" for name, n in outcomes.most_common())
        terminalreporter.line(f"{test}: {found}")
