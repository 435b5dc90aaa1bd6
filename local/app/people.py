"""The person of the local application: an IAM user of the emulator, whom the policy names as its approver."""

from __future__ import annotations

import json

from local.emulator import Emulator

OPERATOR = "operator"
"""The same name as Roundup's user, and as the policy's approver."""


def operator_credentials(emulator: Emulator) -> dict[str, str]:
    """The access key of the user `operator`, who may call the API and nothing else. The user is made if missing."""
    iam = emulator.client("iam")
    try:
        iam.create_user(UserName=OPERATOR)
    except iam.exceptions.EntityAlreadyExistsException:
        for key in iam.list_access_keys(UserName=OPERATOR)["AccessKeyMetadata"]:
            iam.delete_access_key(UserName=OPERATOR, AccessKeyId=key["AccessKeyId"])
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=OPERATOR, PolicyName="decide", PolicyDocument=document)
    key = iam.create_access_key(UserName=OPERATOR)["AccessKey"]
    return {"access_key_id": key["AccessKeyId"], "secret_access_key": key["SecretAccessKey"]}
