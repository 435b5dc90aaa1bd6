"""Hand a ticket to the toil type that it asks for."""
