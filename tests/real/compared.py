"""The advice that is no question, and the test that builds it and compares the file system file by file."""

from __future__ import annotations

from types import MappingProxyType

COMPARED = MappingProxyType(
    {
        "volatile-before-stable": (
            "test_advise_image_layers_for_real",
            "test_the_proposed_dockerfile_rebuilds_what_was_predicted",
        ),
        "frequent-before-rare": ("test_advice_with_the_dockerfile", "test_commits_tell_the_order"),
        "merge-run": ("test_advice_with_the_dockerfile", "test_commits_tell_the_order"),
        "merge-copy": ("test_advice_as_written", "test_the_dockerfile_at_hand_with_its_steps_in_another_order"),
        "merge-add": ("test_advice_as_written", "test_the_dockerfile_at_hand_with_its_steps_in_another_order"),
        "floating-base": ("test_advice_as_written", "test_a_pinned_base_is_the_same_base"),
        "deleted-later": ("test_advice_from_a_deep_look", "test_what_is_left_and_hidden"),
        "overwritten-later": ("test_advice_from_a_deep_look", "test_what_is_left_and_hidden"),
    }
)
"""By rule: the module of tests/real and its test."""
