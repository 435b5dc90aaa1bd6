"""The checks of `paydown doctor`: each looks at one thing, and says how it is and what to do about it."""
