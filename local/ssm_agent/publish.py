"""Bring the SSM documents of a stack to an SSM that has no CloudFormation resource for them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
DOCUMENTS = FUNCTIONS / "clean_dangling_images" / "documents"


def document_name(stack: str, path: Path) -> str:
    """The name in SSM: `list_dangling_images.json` of the stack `paydown` is `paydown-ListDanglingImages`."""
    return f"{stack}-" + "".join(word.capitalize() for word in path.stem.split("_"))


def publish_documents(ssm: SSMClient, stack: str, directory: Path | None = None) -> list[str]:
    """Create or update every document in `directory`, or those of all toil types; their names, in order."""
    names = []
    for path in sorted(directory.glob("*.json") if directory else FUNCTIONS.glob("*/documents/*.json")):
        name = document_name(stack, path)
        content = path.read_text()
        try:
            ssm.create_document(Name=name, Content=content, DocumentType="Command", DocumentFormat="JSON")
        except ssm.exceptions.DocumentAlreadyExists:
            with suppress(ssm.exceptions.DuplicateDocumentContent):
                ssm.update_document(Name=name, Content=content, DocumentVersion="$LATEST", DocumentFormat="JSON")
        names.append(name)
    return names
