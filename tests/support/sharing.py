"""How the processes share the tests: by file, and files that ask the same costly server stay together."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

SHARED = {
    "the abused model": (
        "tests/abuse/test_files.py",
        "tests/abuse/test_http_and_json.py",
        "tests/abuse/test_keys_and_origins.py",
        "tests/abuse/test_parameters.py",
        "tests/abuse/test_state.py",
        "tests/abuse/test_streams.py",
    ),
    "the tiny model": ("tests/abuse/test_grammars.py", "tests/abuse/test_fuzzed_grammars.py", "tests/abuse/test_tools.py"),
    "the real model": (
        "tests/docs/test_readme.py", "tests/fuzz/test_bleed.py", "tests/real/test_create.py", "tests/real/test_moderation.py",
        "tests/real/test_p", "tests/real/test_sampling.py", "tests/real/test_tools.py",
    ),
}  # fmt: skip
"""Server → the files of those that ask it."""


class BySharedServer(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Each server is started once. With `--no-loadscope-reorder` the many short tests of the last directories come last,
    so that neither process is left with a long file at the end."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((server for server, files in SHARED.items() if file.startswith(files)), file)
