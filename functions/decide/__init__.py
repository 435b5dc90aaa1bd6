"""An authenticated person decides on a held plan: through the API, or by a comment on a ticket."""
