"""What runs inside a view's namespaces on the supervisor's behalf; neither trio nor the runtime."""
