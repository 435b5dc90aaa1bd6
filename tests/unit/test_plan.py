"""Plans and their fingerprints."""

import pytest
from pydantic import ValidationError

from paydown.plan import Action, Draft, Hazard, Plan


class RemoveImage(Action):
    hazard: Hazard = Hazard.DISRUPTIVE
    size: int = 0


class Cordon(Action):
    hazard: Hazard = Hazard.REVERSIBLE


def image(name, **more):
    return RemoveImage(object=f"image/{name}", precondition=f"{name} is present", **more)


def fingerprint(*stages):
    return Plan.from_draft(Draft.of(*stages)).fingerprint


def test_the_verb_is_the_class_in_snake_case():
    assert RemoveImage.verb() == "remove_image"
    assert Cordon.verb() == "cordon"


def test_order_sizes_and_explanations_do_not_change_the_fingerprint():
    assert fingerprint([image("a"), image("b")]) == fingerprint([image("b", size=7, note="big"), image("a")])


@pytest.mark.parametrize(
    "other",
    [
        [[image("a")]],
        [[image("a"), image("c")]],
        [[image("a")], [image("b")]],
        [[image("a"), image("b", hazard=Hazard.DESTRUCTIVE)]],
        [[image("a"), image("b").model_copy(update={"precondition": "another"})]],
        [[image("a"), Cordon(object="image/b", precondition="b is present", hazard=Hazard.DISRUPTIVE)]],
    ],
)
def test_verbs_objects_preconditions_hazards_and_stages_change_it(other):
    assert fingerprint(*other) != fingerprint([image("a"), image("b")])


def test_an_action_stands_once_in_its_stage():
    assert len(Plan.from_draft(Draft.of([image("a"), image("a", size=3)])).actions) == 1


def test_empty_stages_are_dropped():
    assert Draft.of([], [image("a")], []).stages == ((image("a"),),)


def test_the_hazard_of_a_plan_is_its_worst():
    assert Plan.from_draft(Draft.of([Cordon(object="n", precondition="p")], [image("a")])).hazard is Hazard.DISRUPTIVE
    assert Plan(()).hazard is Hazard.NONE


def test_actions_are_immutable_and_refuse_unknown_fields():
    with pytest.raises(ValidationError):
        image("a").object = "image/b"
    with pytest.raises(ValidationError):
        RemoveImage(object="o", precondition="p", sice=1)
