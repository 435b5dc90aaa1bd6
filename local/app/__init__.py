"""The whole application on one machine: started in parallel, stopped as a whole."""
