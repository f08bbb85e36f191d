"""What goes over the wire, one module a format. Pure: messages in, bytes out, the same bytes on every read."""
