"""Messages to people: an SNS topic, and webhooks as Slack has them (Mattermost, Rocket.Chat and others take the same).

What a message quotes may have been written by anybody. For webhooks it stands in a code block, where no mention, link
or mark-up counts, with the characters escaped that Slack gives a meaning; the headline keeps only harmless ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from paydown.clients.aws import client, translated
from paydown.clients.web import Web
from paydown.errors import PermanentError
from paydown.tickets.shapes import plain

TEXT_LIMIT = 12_000
"""Characters of a message: Slack cuts at 40,000, Mattermost refuses more than 16,383."""
SUBJECT_LIMIT = 100
"""SNS takes subjects of 100 ASCII characters that begin with a letter, digit or punctuation."""


def publish(topic: str, subject: str, text: str, attributes: Mapping[str, str], message_id: str) -> None:
    """Publish to an SNS topic; `attributes` are for filter policies. Raises PermanentError and RetryableError.

    A FIFO topic drops a repeat of `message_id` within five minutes.
    """
    request: dict[str, Any] = {
        "TopicArn": topic,
        "Subject": _headline(subject)[:SUBJECT_LIMIT],
        "Message": plain(text, TEXT_LIMIT),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items() if value
        },
    }
    if topic.endswith(".fifo"):
        request |= {"MessageGroupId": "paydown", "MessageDeduplicationId": message_id[-128:]}
    with translated("the notification topic"):
        client("sns").publish(**request)


def post(secret: Any, headline: str, text: str, link: tuple[str, str] | None = None) -> None:
    """Post to the webhook of a secret `{"url": …}`; `link` is an address of ours and what it shows.

    The address is a secret itself, so no error names more than its host. Raises PermanentError and RetryableError.
    """
    url = secret.get("url") if isinstance(secret, dict) else None
    if not isinstance(url, str):
        raise PermanentError('the secret of a webhook must be a JSON object {"url": …}')
    parts = urlsplit(url)
    web = Web(f"{parts.scheme}://{parts.netloc}", dict, {}, speaks_json=False)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    web.call("POST", path, slack_message(headline, text, link))


def slack_message(headline: str, text: str, link: tuple[str, str] | None = None) -> dict[str, Any]:
    """The body of the request: nobody is mentioned by it, whatever the texts hold."""
    said = f"*{_headline(headline)}*\n```\n{escaped(plain(text, TEXT_LIMIT))}\n```"
    if link is not None:
        address, words = link
        said += f"\n<{escaped(address)}|{words}>"
    return {"text": said, "link_names": False, "parse": "none", "unfurl_links": False, "unfurl_media": False}


def escaped(text: str) -> str:
    """Text for a code block of Slack's mrkdwn: `&`, `<` and `>` as it asks for them, and no way out of the block.

    Others read a bare `@channel` as a mention: a zero-width space after each `@` keeps them from it.
    """
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("`", "'").replace("@", "@\u200b")


def _headline(text: str) -> str:
    """One line of characters that no mark-up uses; the rest becomes `?`."""
    line = re.sub(r"[^A-Za-z0-9 .,:;/_()-]", "?", " ".join(text.split()))
    return re.sub(r"/{2,}", "/", line) or "Paydown"
