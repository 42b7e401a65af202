"""Whatever is typed: no traceback reaches the user; bad input ends with 2 and says so."""

import sys

import pytest
from fuzz_files import STUDIES, edited, texts
from fuzz_words import TEXTS, fuzzed
from hypothesis import given
from hypothesis import strategies as st

from study.cli.app import main


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """Run a command as the shell would: -> exit code, what went to standard error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("typed"))
        patch.delenv("OLFACTION_ARCHIVE", raising=False)

        def run(*arguments):
            patch.setattr(sys, "argv", ["study", *arguments])
            with pytest.raises(SystemExit) as stop:
                main()
            return stop.value.code or 0

        yield run


def held(code, said):
    """Every end is one of the documented ones."""
    assert code in (0, 2, 3)
    assert "Traceback" not in said
    assert code == 0 or said.startswith(("error: ", "Usage: "))


arguments = st.sampled_from([text for text in TEXTS if "\0" not in text and "\ud800" not in text])


@fuzzed(60)
@given(
    command=st.sampled_from(("plan", "data audit", "compare", "report", "pretrain", "scaling")),
    file=arguments,
    override=st.one_of(st.just([]), arguments.map(lambda text: ["--set", text])),
)
def test_odd_arguments(command, file, override, typed, capfd, cases):
    capfd.readouterr()
    code = cases.outcome("odd arguments", lambda: typed(*command.split(), file, *override))
    held(code, capfd.readouterr().err)


@fuzzed(60)
@given(data=edited(texts(STUDIES)), command=st.sampled_from(("plan", "data audit")))
def test_odd_files(data, command, typed, tmp_path_factory, capfd, cases):
    path = tmp_path_factory.getbasetemp() / "typed.yaml"
    path.write_bytes(data)
    capfd.readouterr()
    code = cases.outcome("odd files typed", lambda: typed(*command.split(), str(path)))
    held(code, capfd.readouterr().err)
