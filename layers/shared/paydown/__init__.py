"""Paydown pays down operational debt: each toil type is one small function, guarded, verified and booked alike."""
