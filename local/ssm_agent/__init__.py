"""A stand-in for SSM Run Command on one machine: it runs our documents for real, where the emulator runs none.

It speaks the SSM JSON protocol over HTTP, so boto3 reaches it through `AWS_ENDPOINT_URL_SSM`. It is as strict as SSM
about documents and parameters, and as lax: an invocation is unknown for a moment after it was sent, and the output is
cut at 24,000 characters. Its instances are this machine under other environments (`DOCKER_HOST`, for example).

    python -m local.ssm_agent --port 4601 --state .paydown/ssm --instances instances.json
"""
