"""By hand only; says at the end what became of the cases."""

import os

if not os.environ.get("RATN_FUZZ"):
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter):
    if not os.environ.get("RATN_FUZZ"):
        return
    from fuzz import profile

    terminalreporter.section("fuzz")
    for test, outcomes in sorted(profile.TALLY.items()):
        found = ", ".join(f"{n} {name}" for name, n in outcomes.most_common())
        terminalreporter.line(f"{test}: {found}")
