"""Tell tickets what became of the runs that they asked for."""
