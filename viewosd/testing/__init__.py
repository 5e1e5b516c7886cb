"""For people who test a service: a tracee, a filter, a view, without a machine full of them."""
