"""The edge: what every request passes before it reaches a route, and every reply before it leaves."""
