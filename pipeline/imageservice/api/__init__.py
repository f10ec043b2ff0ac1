"""The HTTP interface: one module a resource, each of which parses, authorises, calls and renders."""
