from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from paydown.links import LIFETIME, BadLink, ExpiredLink, checked_link, plan_link

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
RUN = "0123456789abcdef" * 2


def parts(link: str) -> tuple[str, dict[str, str]]:
    split = urlsplit(link)
    return split.path.rpartition("/")[2], {name: value for name, [value] in parse_qs(split.query).items()}


def test_a_link_shows_its_plan_until_it_expires() -> None:
    link = plan_link("https://api.example/v1/", RUN, 3, NOW + LIFETIME, "s")
    assert link.startswith(f"https://api.example/v1/plans/{RUN}?plan=3&expires=")
    run, query = parts(link)
    assert checked_link(run, query, ["other", "s"], NOW + LIFETIME - timedelta(seconds=1)) == 3
    with pytest.raises(ExpiredLink):
        checked_link(run, query, ["s"], NOW + LIFETIME)


@pytest.mark.parametrize(
    "change",
    [
        {"plan": "4"},
        {"expires": "99999999999"},
        {"expires": "99999999999999999999999"},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "é" * 64},
        {"plan": "03"},
        {"plan": "³"},
        {"plan": "-1"},
        {"expires": ""},
    ],
)
def test_a_link_cannot_be_changed(change: dict[str, str]) -> None:
    run, query = parts(plan_link("https://api.example", RUN, 3, NOW + LIFETIME, "s"))
    with pytest.raises(BadLink):
        checked_link(run, query | change, ["s"], NOW)


def test_a_link_is_good_for_its_run_and_under_its_secret_only() -> None:
    run, query = parts(plan_link("https://api.example", RUN, 3, NOW + LIFETIME, "s"))
    for other in (f"{RUN}-2", RUN[::-1], "", "x", f"{RUN}\n"):
        with pytest.raises(BadLink):
            checked_link(other, query, ["s"], NOW)
    for secrets in ([], ["t"]):
        with pytest.raises(BadLink):
            checked_link(run, query, secrets, NOW)


def test_a_later_attempt_has_links_too() -> None:
    run, query = parts(plan_link("https://api.example", f"{RUN}-12", 1, NOW + LIFETIME, "s"))
    assert checked_link(run, query, ["s"], NOW) == 1
