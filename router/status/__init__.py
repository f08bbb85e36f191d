"""What is measured and shown of a running router."""
