"""The configuration of each sender of webhooks, ready to paste; docs/senders.md explains it."""

from __future__ import annotations

REGISTRY = """\
# Into the registry's config.yml, then restart it.
notifications:
  endpoints:
    - name: paydown
      url: {url}
      headers:
        Authorization: ["Bearer {secret}"]
      timeout: 10s
      threshold: 3
      backoff: 30s
      ignoredmediatypes: [application/octet-stream]"""

ALERTMANAGER = """\
# Into alertmanager.yml, then reload it. The file holds the secret alone: {secret}
receivers:
  - name: paydown
    webhook_configs:
      - url: {url}
        http_config:
          authorization:
            type: Bearer
            credentials_file: /etc/alertmanager/paydown-token
route:
  routes:
    - receiver: paydown
      matchers: ['alertname =~ "Kube(rnetes)?Node(NotReady|Unreachable|Pressure)|NodeFilesystem.*|Host(OutOf|Disk).*"']
      group_by: [alertname, cluster]
      group_interval: 5m
      repeat_interval: 1h
      continue: true
    # Alerts of your own that say what they are by this label:
    - receiver: paydown
      matchers: ['paydown_event =~ "NodeNotReady|DiskPressure"']
      group_by: [alertname, cluster]
      group_interval: 5m
      repeat_interval: 1h
      continue: true
    # The alert that always fires shows that the whole way works: below, it is sent each five minutes, so
    # `sources: {{alertmanager: {{expect_every_seconds: 900}}}}` suits the policy.
    - receiver: paydown
      matchers: [alertname = "Watchdog"]
      group_interval: 5m
      repeat_interval: 5m
      continue: true

# Into a file of rules of Prometheus, unless kube-prometheus brought it:
#   groups:
#     - name: heartbeat
#       rules: [{{alert: Watchdog, expr: vector(1), labels: {{severity: none}}}}]"""

GITHUB = """\
# In the repository's Settings, Webhooks, Add webhook:
Payload URL:       {url}
Content type:      application/json
Secret:            {secret}
SSL verification:  Enable
Events:            Let me select individual events: {events}
Active:            yes"""

HARBOR = """\
# In each project's Webhooks, New Webhook (a project administrator may):
Notify Type:       HTTP
Payload Format:    CloudEvents
Event Type:        {events}
Endpoint URL:      {url}
Auth Header:       Bearer {secret}
Verify Remote Certificate: yes"""

ROUNDUP = """\
# Copy local/roundup_detector.py into the tracker's detectors/ folder, this into detectors/config.ini (readable by
# Roundup alone), then restart Roundup. A % in a value is written %%.
[paydown]
url = {url}
secret = {secret}
# the tracker's name in Paydown's inventory, the keyword that hands an issue over, and Paydown's own user here:
tracker = helpdesk
queue = automation
automation_user = paydown
python ="""

TEXTS = {"alertmanager": ALERTMANAGER, "github": GITHUB, "harbor": HARBOR, "registry": REGISTRY, "roundup": ROUNDUP}

EVENTS = {
    "github": {"issues": "Issues", "issue_comment": "Issue comments"},
    "harbor": {"PUSH_ARTIFACT": "Artifact pushed", "SCANNING_COMPLETED": "Scanning finished"},
}
"""Of the senders that let one choose: the events that ingress understands, and what their form calls each."""

TRIALS = {
    "alertmanager": "Its Watchdog comes by itself; or: amtool alert add Watchdog severity=none",
    "github": "GitHub sends a ping when the webhook is added; Redeliver sends it again.",
    "harbor": "Test Endpoint in the list of webhooks, or push any tag.",
    "registry": "Push any tag; a pull will do as well.",
    "roundup": "Make an issue.",
}
"""How each sender is made to send something harmless."""


def configuration(source: str, url: str, secret: str) -> str:
    """What the operator pastes, without a line break at the end."""
    if source == "roundup":
        secret = secret.replace("%", "%%")
    return TEXTS[source].format(url=url, secret=secret, events=", ".join(EVENTS.get(source, {}).values()))
