"""How a job that did not come to its end tells why, to programs and shells."""

import pytest

from usenetsyncd import errors
from usenetsyncd.control import schema
from usenetsyncd.control.summaries import job_summary
from usenetsyncd.errors import exit_code_of

ENDINGS = {
    errors.ShareRevoked: 77,
    errors.ShareExpired: 77,
    errors.PassphraseNeeded: 77,
    errors.WrongPassphrase: 77,
    errors.NotAMember: 77,
    errors.NothingPublished: 5,
    errors.BadAccessString: 2,
    errors.NewerFormat: 1,
    errors.Rollback: 1,
    errors.NoServer: 1,
}


@pytest.mark.parametrize("error", ENDINGS)
def test_a_restore_that_opens_nothing_ends_with_the_code_of_its_error(
    error: type[errors.UsenetSyncError],
) -> None:
    told = error("a sentence")
    job = schema.Job(
        id=1, kind="restore", state="failed", created_at=1.0, error_code=told.code, error=str(told)
    )
    summary = job_summary(job)
    assert (summary["error"], summary["message"]) == (told.code, "a sentence")
    assert summary["exit_code"] == ENDINGS[error]


def test_every_reason_has_a_name_of_its_own() -> None:
    assert len({error("").code for error in ENDINGS}) == len(ENDINGS)


def test_a_name_that_nobody_bears_is_a_plain_failure() -> None:
    for name in ("", "unexpected", "interrupted", "exception"):
        assert exit_code_of(name) == 1
