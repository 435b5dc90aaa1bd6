import pytest

from local.cluster import selectors
from local.cluster.failures import ApiError

LABELS = {"app": "web", "tier": "front", "weight": "7", "example.org/zone": "a"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app == web , tier=front", True),
        ("app=db", False),
        ("app!=db", True),
        ("missing!=db", True),
        ("app in (web,db),tier notin (back)", True),
        ("app in (db)", False),
        ("missing notin (x)", True),
        ("app,!missing", True),
        ("!app", False),
        ("weight>6,weight<8", True),
        ("weight>7", False),
        ("app>7", False),
        ("example.org/zone=a", True),
        ("missing=", False),
    ],
)
def test_label_selectors(text, expected):
    assert selectors.matches(selectors.parse_labels(text), LABELS) is expected


@pytest.mark.parametrize("text", ["a in x", "a in (x", "=b", "a=b c", "a,,(", "a in (x),=)"])
def test_unreadable_label_selectors(text):
    with pytest.raises(ApiError) as error:
        selectors.parse_labels(text)
    assert error.value.code == 400


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "back"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_selector_objects(selector, expected):
    assert selectors.matches(selectors.from_object(selector), LABELS) is expected


def test_field_selectors():
    allowed = {"metadata.name", "spec.nodeName", "spec.unschedulable", "source"}
    item = {"metadata": {"name": "a"}, "spec": {"unschedulable": True}, "source": {"component": "kubelet"}}
    for text, expected in {
        "metadata.name=a": True,
        "metadata.name==a,spec.unschedulable=true": True,
        "metadata.name!=a": False,
        "spec.nodeName=": True,
        "source=kubelet": True,
    }.items():
        assert selectors.matches_fields(selectors.parse_fields(text, allowed), item) is expected, text


@pytest.mark.parametrize(("text", "said"), [("spec.foo=1", "not supported"), ("nonsense", "can't understand")])
def test_unreadable_field_selectors(text, said):
    with pytest.raises(ApiError, match=said):
        selectors.parse_fields(text, {"metadata.name"})
