"""Pages in the browser that show runs: while they write, and ever after."""
