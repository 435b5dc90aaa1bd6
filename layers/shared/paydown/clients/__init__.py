"""The outside systems, one module or package each: it speaks their protocol, and turns their errors into ours."""
