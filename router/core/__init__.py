"""What a router actor decides: who holds which request, and who must be told what. Pure."""
