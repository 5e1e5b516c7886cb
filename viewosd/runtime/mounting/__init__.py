"""The mount family of calls in a view that has a namespace of its own."""
