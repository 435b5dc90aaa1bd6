"""The queues of the stack, by name."""

from __future__ import annotations

from cli.exits import NotFoundError
from cli.session import Session


def send_to_toil(session: Session, toil: str, body: str) -> None:
    """Put a message into the queue of a toil type. Raises NotFoundError if there is no such queue."""
    name = f"{session.connection.stack_name}-toil-{toil}"
    session.connection.client("sqs").send_message(QueueUrl=url_of(session, name, toil), MessageBody=body)


def url_of(session: Session, name: str, toil: str) -> str:
    """The address of the queue of a toil type. Raises NotFoundError."""
    sqs = session.connection.client("sqs")
    try:
        return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])
    except sqs.exceptions.QueueDoesNotExist:
        raise NotFoundError(f"there is no queue {name}: is {toil} a toil type that is switched on?") from None
