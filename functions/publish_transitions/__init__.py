"""Tell everybody what became of runs: the ledger's stream becomes `Remediation …` events."""
